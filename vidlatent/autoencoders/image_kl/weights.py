"""Names of the weights: ours, diffusers' (and its names of 2022), and those of the authors' checkpoints.

The authors' names are those of github.com/CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py, which
Stable Diffusion, SDXL and FLUX.1 checkpoints share. Rows list modules as (ours, diffusers, authors).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.image_kl.config import ImageKLConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming

_BLOCK = (
    ("body.0", "norm1", "norm1"),
    ("body.2", "conv1", "conv1"),
    ("body.3", "norm2", "norm2"),
    ("body.5", "conv2", "conv2"),
    ("shortcut", "conv_shortcut", "nin_shortcut"),
)
_MIDDLE = (("middle.0", "mid_block.resnets.0", "mid.block_1"), ("middle.2", "mid_block.resnets.1", "mid.block_2"))
_ENDS = (
    ("conv_in", "conv_in", "conv_in"),
    ("norm_out", "conv_norm_out", "norm_out"),
    ("conv_out", "conv_out", "conv_out"),
)
_ATTENTION: dict[Naming, tuple[str, str, tuple[str, str, str], str]] = {
    "diffusers": ("mid_block.attentions.0", "group_norm", ("to_q", "to_k", "to_v"), "to_out.0"),
    "early": ("mid_block.attentions.0", "group_norm", ("query", "key", "value"), "proj_attn"),
    "original": ("mid.attn_1", "norm", ("q", "k", "v"), "proj_out"),
}
"""Its place, its norm, its projections of queries, keys and values, and of its output."""


def links(config: ImageKLConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    """Every tensor of ours, and where it lives in a checkpoint of `naming`."""
    return link_modules(_modules(config, naming), shapes)


def _modules(config: ImageKLConfig, naming: Naming) -> Iterator[Module]:
    yield Module("decoder.post_quant_conv", "post_quant_conv", 2)
    yield from encoder_modules(config, naming)
    yield from _side("decoder", config, naming)


def encoder_modules(config: ImageKLConfig, naming: Naming) -> Iterator[Module]:
    """Every module of the encoder."""
    yield Module("encoder.quant_conv", "quant_conv", 2)
    yield from _side("encoder", config, naming)


def _side(side: str, config: ImageKLConfig, naming: Naming) -> Iterator[Module]:
    column = 2 if naming == "original" else 1
    for row in _ENDS:
        yield Module(f"{side}.{row[0]}", f"{side}.{row[column]}", 2)
    for row in _MIDDLE:
        yield from _block(f"{side}.{row[0]}", f"{side}.{row[column]}", column)
    yield from attention_modules(side, naming)
    count = config.num_res_blocks + (side == "decoder")
    for level in range(len(config.widths)):
        place, blocks, step = _level(side, level, len(config.widths), naming)
        for index in range(count):
            yield from _block(f"{side}.levels.{level}.{index}", f"{side}.{place}.{blocks}.{index}", column)
        ours = f"{side}.levels.{level}.{count}" + (".1" if side == "decoder" else "")
        yield Module(ours, f"{side}.{place}.{step}.conv", 2)


def _level(side: str, level: int, count: int, naming: Naming) -> tuple[str, str, str]:
    """Their names of a level, its list of blocks, and its step; the authors count resolutions, up or down."""
    way = "down" if side == "encoder" else "up"
    if naming == "original":
        return f"{way}.{level if side == 'encoder' else count - 1 - level}", "block", f"{way}sample"
    return f"{way}_blocks.{level}", "resnets", f"{way}samplers.0"


def _block(ours: str, theirs: str, column: int) -> Iterator[Module]:
    for row in _BLOCK:
        yield Module(f"{ours}.{row[0]}", f"{theirs}.{row[column]}", 2)


def attention_modules(side: str, naming: Naming) -> Iterator[Module]:
    """The attention in the middle of "encoder" or "decoder"."""
    place, norm, parts, out = _ATTENTION[naming]
    ours, theirs, dims = f"{side}.middle.1.body", f"{side}.{place}", 2 if naming == "original" else 0
    yield Module(f"{ours}.0", f"{theirs}.{norm}")
    q, k, v = (f"{theirs}.{part}" for part in parts)
    yield Module(f"{ours}.1.to_qkv", (q, k, v), dims)
    yield Module(f"{ours}.1.to_out", f"{theirs}.{out}", dims)
