"""HunyuanVideo as diffusers stores it, and as its authors do: the same names, in some files behind `vae.`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.hunyuan_video.model import HunyuanVideoConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published

_KEYS = ConfigKeys(
    "AutoencoderKLHunyuanVideo",
    HunyuanVideoConfig,
    names={
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "norm_num_groups": "groups",
        "spatial_compression_ratio": "space_stride",
        "scaling_factor": "scaling_factor",
        "mid_block_add_attention": "middle_attention",
    },
    fixed={"in_channels": 3, "out_channels": 3, "act_fn": "silu", "temporal_compression_ratio": 4},
    per_level={"down_block_types": "HunyuanVideoDownBlock3D", "up_block_types": "HunyuanVideoUpBlock3D"},
)
_BLOCK = (
    ("body.0", "norm1"),
    ("body.2", "conv1.conv"),
    ("body.3", "norm2"),
    ("body.5", "conv2.conv"),
    ("shortcut", "conv_shortcut.conv"),
)


def _links(config: HunyuanVideoConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules(_modules(config), shapes)


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    return {}, {name.removeprefix("vae."): tensor for name, tensor in tensors.items()}


def _modules(config: HunyuanVideoConfig) -> Iterator[Module]:
    yield Module("encoder.quant_conv", "quant_conv")
    yield Module("decoder.post_quant_conv", "post_quant_conv")
    for side, way, step in (("encoder", "down", "step.0"), ("decoder", "up", "step.conv")):
        yield Module(f"{side}.conv_in", f"{side}.conv_in.conv")
        yield Module(f"{side}.norm_out", f"{side}.conv_norm_out")
        yield Module(f"{side}.conv_out", f"{side}.conv_out.conv")
        for index, place in enumerate((0, 2)):
            yield from _block(f"{side}.middle.{place}", f"{side}.mid_block.resnets.{index}")
        yield from _attention(f"{side}.middle.1.body", f"{side}.mid_block.attentions.0")
        for level in range(len(config.widths)):
            ours, theirs = f"{side}.levels.{level}", f"{side}.{way}_blocks.{level}"
            for index in range(config.num_res_blocks + (side == "decoder")):
                yield from _block(f"{ours}.blocks.{index}", f"{theirs}.resnets.{index}")
            yield Module(f"{ours}.{step}", f"{theirs}.{way}samplers.0.conv.conv")


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}")


def _attention(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.group_norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.to_q", f"{theirs}.to_k", f"{theirs}.to_v"), 0)
    yield Module(f"{ours}.1.to_out", f"{theirs}.to_out.0", 0)


HUNYUAN_VIDEO = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, _unpack, namings=("diffusers",))
