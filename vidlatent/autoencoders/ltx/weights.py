"""Names of LTX's weights: ours, diffusers', and those of the authors' single files (`ltx-video-2b-v0.9.1.safetensors`).

The authors number a whole side's blocks in one run, where diffusers has levels. Their names are those of
github.com/Lightricks/LTX-Video: ltx_video/models/autoencoders/causal_video_autoencoder.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vidlatent.autoencoders.links import Link, Order, Shape
from vidlatent.autoencoders.ltx.config import LTXConfig
from vidlatent.autoencoders.published import Naming
from vidlatent.autoencoders.renaming import Rule, rename

_BLOCKS: tuple[Rule, ...] = (
    (r"\.(body|shortcut)\.", "."),
    (r"modulation\.weight", "scale_shift_table"),
    (r"noise(\d)\.weight", r"per_channel_scale\1"),
    (r"time\.multiplier", "timestep_scale_multiplier"),
    (r"time_embedder\.", "time_embedder.timestep_embedder."),
)
_CONVS: tuple[Rule, ...] = ((r"\b(conv\w*|downsamplers\.0)\.(weight|bias)$", r"\1.conv.\2"),)
_PLAIN_SHORTCUT: tuple[Rule, ...] = ((r"conv_shortcut\.conv\.", "conv_shortcut."),)
_AUTHORS: tuple[Rule, ...] = (
    *_PLAIN_SHORTCUT,
    (r"\bresnets\.", "res_blocks."),
    (r"^decoder\.(time_embedder|scale_shift_table)", r"decoder.last_\1"),
)
_STATISTICS = {
    "latents_mean": "mean",
    "latents_std": "std",
    "per_channel_statistics.mean-of-means": "mean",
    "per_channel_statistics.std-of-means": "std",
}
_PIPELINE = "vae."
"""What the authors' files, which hold a whole pipeline, put before the autoencoder's keys."""


def links(config: LTXConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    """Every tensor of ours in a checkpoint of LTX-Video."""
    norm: tuple[Rule, ...] = ((r"\bnorm3\.", "norm3.norm."),) if naming == "original" else ()
    return _links(config, shapes, (*_BLOCKS, *_CONVS), naming, norm)


def links_2(config: LTXConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    """Every tensor of ours in a checkpoint of LTX-2, which has plain convolutions in shortcuts."""
    return _links(config, shapes, (*_BLOCKS, *_CONVS, *_PLAIN_SHORTCUT), naming, ())


def _links(
    config: LTXConfig, shapes: Mapping[str, Shape], rules: tuple[Rule, ...], naming: Naming, more: tuple[Rule, ...]
) -> list[Link]:
    if naming == "original":
        rules = (*rules, *_AUTHORS, *_numbers(config), *more)
    found = []
    for name, shape in shapes.items():
        theirs = rename(name, rules)
        their_shape = (*shape, 1, 1) if "per_channel_scale" in theirs else tuple(shape)
        found.append(Link(name, theirs, their_shape, _order(name, config.patch_size)))
    return found


def _numbers(config: LTXConfig) -> Iterator[Rule]:
    """From diffusers' levels to the authors' numbers; marked until all are done, or one would undo another."""
    encoder, decoder = [], ["mid_block"]
    for level in range(len(config.downsample)):
        at, widths = f"down_blocks.{level}", config.encoder_channels
        encoder.append(at)
        encoder += [f"{at}.downsamplers.0"] if config.downsample[level] else []
        encoder += [f"{at}.conv_out"] if not config.has_folds and widths[level] != widths[level + 1] else []
    before, widths = config.decoder_widths[-1], config.decoder_widths[::-1]
    for level, (width, factor) in enumerate(zip(widths, config.upsample_factor[::-1], strict=True)):
        at = f"up_blocks.{level}"
        decoder += [f"{at}.conv_in"] if before != width else []
        decoder += [f"{at}.upsamplers.0"] if config.upsample[::-1][level] else []
        decoder.append(at)
        before = width // factor
    for side, theirs, places in (("encoder", "down", [*encoder, "mid_block"]), ("decoder", "up", decoder)):
        deepest_first = sorted(enumerate(places), key=lambda pair: -len(pair[1]))
        for number, place in deepest_first:
            yield rf"^{side}\.{place}\.".replace("_blocks.", r"_blocks\."), rf"{side}.{theirs}_blocks#{number}."
    yield "_blocks#", "_blocks."


def _order(ours: str, patch: int) -> Order | None:
    """They put the columns of a patch before its rows."""
    if ours == "encoder.conv_in.weight":
        return Order(1, (3, patch, patch), (0, 2, 1))
    return Order(0, (3, patch, patch), (0, 2, 1)) if ours.startswith("decoder.conv_out.") else None


def unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Latent statistics, which they keep as tensors, and the autoencoder's weights."""
    if any(name.startswith(_PIPELINE) for name in tensors):
        tensors = {n.removeprefix(_PIPELINE): tensor for n, tensor in tensors.items() if n.startswith(_PIPELINE)}
    fields = {ours: tuple(tensors[key].flatten().tolist()) for key, ours in _STATISTICS.items() if key in tensors}
    weights = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in _STATISTICS and not name.startswith("per_channel_statistics.")
    }
    return fields, weights


def pack(config: LTXConfig) -> dict[str, Tensor]:
    """Latent statistics as diffusers keeps them."""
    channels = config.latent_channels
    return {
        "latents_mean": torch.tensor(config.mean or (0.0,) * channels),
        "latents_std": torch.tensor(config.std or (1.0,) * channels),
    }
