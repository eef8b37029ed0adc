"""What distinguishes one DC-AE from another, and the published ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError

Block = Literal["ResBlock", "EfficientViTBlock"]
Norm = Literal["rms_norm", "batch_norm"]
Activation = Literal["silu", "relu"]
Down = Literal["pixel_unshuffle", "conv", "Conv"]
Up = Literal["pixel_shuffle", "interpolate"]


@dataclass(frozen=True)
class DCAEConfig:
    """Widths and depths by level, finest first; the defaults are f32c32 as Sana uses it.

    Between two levels space is halved, also where the finest has no blocks. Level `i` has `*_depths[i]` blocks of
    `*_blocks[i]`; those with attention take `*_scales[i]`, kernels of which queries, keys and values are aggregated
    besides. Decoder blocks may differ in norm and activation; `out_activation` is the one behind all of them. Shortcuts
    into the latents and out of them may be missing. A diffusion model is fed `latents * scaling_factor`.
    Raises `ModelError` where the fields contradict each other.
    """

    latent_channels: int = 32
    head_dim: int = 32
    encoder_widths: tuple[int, ...] = (128, 256, 512, 512, 1024, 1024)
    decoder_widths: tuple[int, ...] = (128, 256, 512, 512, 1024, 1024)
    encoder_blocks: Block | tuple[Block, ...] = (*("ResBlock",) * 3, *("EfficientViTBlock",) * 3)
    decoder_blocks: Block | tuple[Block, ...] = (*("ResBlock",) * 3, *("EfficientViTBlock",) * 3)
    encoder_depths: tuple[int, ...] = (2, 2, 2, 3, 3, 3)
    decoder_depths: tuple[int, ...] = (3, 3, 3, 3, 3, 3)
    encoder_scales: tuple[tuple[int, ...], ...] = ((), (), (), (5,), (5,), (5,))
    decoder_scales: tuple[tuple[int, ...], ...] = ((), (), (), (5,), (5,), (5,))
    decoder_norms: Norm | tuple[Norm, ...] = "rms_norm"
    decoder_activations: Activation | tuple[Activation, ...] = "silu"
    down: Down = "Conv"
    up: Up = "interpolate"
    out_activation: Activation = "relu"
    encoder_shortcut: bool = True
    decoder_shortcut: bool = True
    scaling_factor: float = 0.41407

    def __post_init__(self) -> None:
        levels = len(self.encoder_widths)
        for name, value in vars(self).items():
            if isinstance(value, tuple) and len(value) != levels:
                raise ModelError(f"{name} has {len(value)} entries for the {levels} levels of encoder_widths")
        if levels < 2 or min(*self.encoder_widths, *self.decoder_widths, self.latent_channels, self.head_dim) < 1:
            raise ModelError(f"at least 2 levels, and widths of at least 1, are needed; got {self}")
        for name, depths in (("encoder_depths", self.encoder_depths), ("decoder_depths", self.decoder_depths)):
            if min(depths[0], *(depth - 1 for depth in depths[1:])) < 0:
                raise ModelError(f"{name} {depths}: only the first level may have no blocks")
        for name, widths, shortcut in (
            ("encoder_widths", self.encoder_widths, self.encoder_shortcut),
            ("decoder_widths", self.decoder_widths, self.decoder_shortcut),
        ):
            if shortcut and widths[-1] % self.latent_channels:
                raise ModelError(f"{name} end with {widths[-1]}, no multiple of {self.latent_channels} latent channels")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space, std = 2 ** (len(self.encoder_widths) - 1), (1 / self.scaling_factor,) * self.latent_channels
        return LatentSpec(self.latent_channels, (1, space, space), "grouped", (), std)

    def by_level(self, name: str) -> tuple:
        """A field that may be one value for all levels, as one for each."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * len(self.encoder_widths)


def _mix(latent_channels: int, coarse_widths: tuple[int, ...], scaling_factor: float) -> DCAEConfig:
    """The published models without scales; `coarse_widths` are those of the levels with attention."""
    coarse = len(coarse_widths)
    widths, blocks = (128, 256, 512, *coarse_widths), (*("ResBlock",) * 3, *("EfficientViTBlock",) * coarse)
    return DCAEConfig(
        latent_channels=latent_channels,
        encoder_widths=widths,
        decoder_widths=widths,
        encoder_blocks=blocks,  # type: ignore[arg-type]
        decoder_blocks=blocks,  # type: ignore[arg-type]
        encoder_depths=(0, 4, 8, *(2,) * coarse),
        decoder_depths=(0, 5, 10, *(2,) * coarse),
        encoder_scales=((),) * len(widths),
        decoder_scales=((),) * len(widths),
        decoder_norms=(*("batch_norm",) * 3, *("rms_norm",) * coarse),  # type: ignore[arg-type]
        decoder_activations=(*("relu",) * 3, *("silu",) * coarse),  # type: ignore[arg-type]
        down="pixel_unshuffle",
        up="pixel_shuffle",
        scaling_factor=scaling_factor,
    )


def _structured(coarse_widths: tuple[int, ...]) -> DCAEConfig:
    """The published models of version 1.5 (arXiv:2508.00413), of one kind of block."""
    widths = (128, 256, 512, *coarse_widths)
    depths = (0, 5, 10, *(4,) * len(coarse_widths))
    return DCAEConfig(
        latent_channels=128,
        encoder_widths=widths,
        decoder_widths=widths,
        encoder_blocks="ResBlock",
        decoder_blocks="ResBlock",
        encoder_depths=depths,
        decoder_depths=depths,
        encoder_scales=((),) * len(widths),
        decoder_scales=((),) * len(widths),
        down="pixel_unshuffle",
        up="pixel_shuffle",
        out_activation="silu",
        encoder_shortcut=False,
        decoder_shortcut=False,
        scaling_factor=1.0,
    )


F32C32_SANA = DCAEConfig()
"""32x32 with 32 channels, 312 million parameters: Sana's."""

F32C32 = _mix(32, (512, 1024, 1024), 0.4552)
"""32x32 with 32 channels, 323 million parameters."""

F64C128 = _mix(128, (512, 1024, 1024, 2048), 0.4538)
"""64x64 with 128 channels, 677 million parameters."""

F128C512 = _mix(512, (512, 1024, 1024, 2048, 2048), 0.3620)
"""128x128 with 512 channels, 1.12 billion parameters."""

F32C32_LITE = replace(
    F32C32_SANA,
    decoder_blocks="ResBlock",
    decoder_depths=(0, 3, 5, 4, 4, 4),
    decoder_scales=((),) * 6,
    up="pixel_shuffle",
    out_activation="silu",
)
"""Sana's with a lighter decoder."""

F32C128_15 = _structured((512, 1024, 1024))
F64C128_15 = _structured((512, 1024, 1024, 1024))
"""Version 1.5, whose first channels hold the structure."""
