"""HunyuanVideo 1.5 as diffusers stores it, and as its authors do.

The authors' names are as diffusers' scripts/convert_hunyuan_video1_5_to_diffusers.py reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.hunyuan_video_15.model import HunyuanVideo15Config
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.renaming import rename

_KEYS = ConfigKeys(
    "AutoencoderKLHunyuanVideo15",
    HunyuanVideo15Config,
    names={
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "spatial_compression_ratio": "space_stride",
        "temporal_compression_ratio": "time_stride",
        "downsample_match_channel": "down_matches",
        "upsample_match_channel": "up_matches",
        "scaling_factor": "scaling_factor",
    },
    fixed={"in_channels": 3, "out_channels": 3},
)
_BLOCK = (("body.0", "norm1"), ("body.1", "conv1.conv"), ("body.2", "norm2"), ("body.3", "conv2.conv"))
_AUTHORS = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.to_", "attn_1."),
    (r"(down|up)_blocks\.", r"\1."),
    (r"resnets\.", "block."),
    (r"(down|up)samplers\.0", r"\1sample"),
    (r"conv_shortcut", "nin_shortcut"),
)


def _links(config: HunyuanVideo15Config, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    links = [_as_gamma(link) for link in link_modules(_modules(config), shapes)]
    if naming == "original":
        return [replace(link, theirs=rename(link.theirs, _AUTHORS)) for link in links]
    return links


def _as_gamma(link: Link) -> Link:
    """A norm's weight is kept as a `gamma` with an axis for each of T, H and W."""
    module, _, tensor = link.theirs.rpartition(".")
    if tensor == "weight" and len(link.their_shape) == 1:
        return replace(link, theirs=f"{module}.gamma", their_shape=(*link.their_shape, 1, 1, 1))
    return link


def _modules(config: HunyuanVideo15Config) -> Iterator[Module]:
    yield Module("encoder.conv_in", "encoder.conv_in.conv")
    yield Module("encoder.out.body.0", "encoder.norm_out")
    yield Module("encoder.out.body.1", "encoder.conv_out.conv")
    yield Module("decoder.conv_in.body", "decoder.conv_in.conv")
    yield Module("decoder.norm_out", "decoder.norm_out")
    yield Module("decoder.conv_out", "decoder.conv_out.conv")
    for side, way in (("encoder", "down"), ("decoder", "up")):
        for index, place in enumerate((0, 2)):
            yield from _block(f"{side}.middle.{place}", f"{side}.mid_block.resnets.{index}")
        yield from _attention(f"{side}.middle.1.body", f"{side}.mid_block.attentions.0")
        for level in range(len(config.widths)):
            ours, theirs = f"{side}.levels.{level}", f"{side}.{way}_blocks.{level}"
            for index in range(config.num_res_blocks + (side == "decoder")):
                yield from _block(f"{ours}.blocks.{index}", f"{theirs}.resnets.{index}")
            yield Module(f"{ours}.step.body.conv", f"{theirs}.{way}samplers.0.conv.conv")


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}")
    yield Module(f"{ours}.shortcut", f"{theirs}.conv_shortcut")


def _attention(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.to_q", f"{theirs}.to_k", f"{theirs}.to_v"))
    yield Module(f"{ours}.1.to_out", f"{theirs}.proj_out")


HUNYUAN_VIDEO_15 = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links)
