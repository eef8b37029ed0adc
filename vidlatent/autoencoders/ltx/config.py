"""What distinguishes one LTX autoencoder from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidlatent.errors import ModelError

Step = Literal["conv", "spatial", "temporal", "spatiotemporal"]
"""How a level changes the grid: a strided convolution, or blocks folded into channels along the named axes."""


@dataclass(frozen=True)
class LTXConfig:
    """Widths and depths, named and ordered as in diffusers; the defaults are LTX-Video 0.9.0.

    Tuples go from pixels to latents, except `upsample_kinds`, which goes the decoder's way. Depths have one entry more
    than there are levels: the middle's. `timestep_conditioning` modulates the decoder's norms by `decode_timestep`,
    the noise level in [0, 1] of the latents it is given. `inject_noise` says where the decoder has weights for noise;
    it is added only with a `noise_seed`, and then each row has its own, whatever the plan: published code draws it anew
    for every call and every tile. Raises `ModelError` where the fields contradict each other.
    """

    latent_channels: int = 128
    encoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    encoder_blocks: tuple[int, ...] = (4, 3, 3, 3, 4)
    downsample: tuple[bool, ...] = (True, True, True, False)
    downsample_kinds: tuple[Step, ...] = ("conv", "conv", "conv", "conv")
    decoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    decoder_blocks: tuple[int, ...] = (4, 3, 3, 3, 4)
    upsample: tuple[bool, ...] = (True, True, True, False)
    upsample_kinds: tuple[Step, ...] = ()
    upsample_residual: tuple[bool, ...] = (False, False, False, False)
    upsample_factor: tuple[int, ...] = (1, 1, 1, 1)
    inject_noise: tuple[bool, ...] = (False, False, False, False, False)
    timestep_conditioning: bool = False
    decoder_padding: Literal["zeros", "reflect", "replicate"] = "zeros"
    decoder_causal: bool = False
    patch_size: int = 4
    decode_timestep: float = 0.05
    noise_seed: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        down, up = len(self.encoder_blocks) - 1, len(self.decoder_blocks) - 1
        wanted = {
            "encoder_widths": (down, down + 1),
            "downsample": (down,),
            "downsample_kinds": (down,),
            "decoder_widths": (up,),
            "upsample": (up,),
            "upsample_kinds": (0, up),
            "upsample_residual": (up,),
            "upsample_factor": (up,),
            "inject_noise": (up + 1,),
            "mean": (0, self.latent_channels),
            "std": (0, self.latent_channels),
        }
        for name, lengths in wanted.items():
            if len(getattr(self, name)) not in lengths:
                raise ModelError(f"{name} must have {lengths[-1]} entries, got {getattr(self, name)}")
        if self.has_folds and "conv" in self.downsample_kinds:
            raise ModelError(f"downsample_kinds are all 'conv' or none is, got {self.downsample_kinds}")
        if "conv" in self.upsample_kinds:
            raise ModelError(f"upsample_kinds are spatial, temporal or spatiotemporal, got {self.upsample_kinds}")
        self._check_widths()

    @property
    def has_folds(self) -> bool:
        """Whether the encoder folds blocks into channels (0.9.5 and later) or strides its convolutions."""
        return set(self.downsample_kinds) != {"conv"}

    @property
    def encoder_channels(self) -> tuple[int, ...]:
        """Width of the encoder's entry, then behind each level."""
        widths = self.encoder_widths
        if len(widths) == len(self.encoder_blocks):
            return widths
        return (self.latent_channels, *widths) if self.has_folds else (*widths, widths[-1])

    @property
    def video_channels(self) -> int:
        """Channels of a video whose patches are folded."""
        return 3 * self.patch_size**2

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        steps = [kind for kind, on in zip(self.downsample_kinds, self.downsample, strict=True) if on]
        space = self.patch_size * 2 ** sum(step != "temporal" for step in steps)
        return 2 ** sum(step != "spatial" for step in steps), space, space

    def _check_widths(self) -> None:
        """A level changes its width in a block of its own, which has neither noise nor a timestep, or by its factor."""
        is_plain, before = not (any(self.inject_noise) or self.timestep_conditioning), self.decoder_widths[-1]
        for width, factor in zip(self.decoder_widths[::-1], self.upsample_factor[::-1], strict=True):
            if width % factor or (before != width and (factor > 1 or not is_plain)):
                raise ModelError(
                    f"decoder_widths {self.decoder_widths} and upsample_factor {self.upsample_factor} do not fit: "
                    f"a level of width {width} follows one that gives {before}"
                )
            before = width // factor
