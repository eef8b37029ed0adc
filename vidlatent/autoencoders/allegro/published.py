"""Allegro as diffusers stores it: its configuration, and the names of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vidlatent.autoencoders.allegro.model import AllegroConfig
from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Order, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published

_KEYS = ConfigKeys(
    "AutoencoderKLAllegro",
    AllegroConfig,
    names={
        "block_out_channels": "widths",
        "temporal_downsample_blocks": "downsample",
        "temporal_upsample_blocks": "upsample",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "norm_num_groups": "groups",
        "scaling_factor": "scaling_factor",
    },
    fixed={"in_channels": 3, "out_channels": 3, "act_fn": "silu"},
    per_level={"down_block_types": "AllegroDownBlock3D", "up_block_types": "AllegroUpBlock3D"},
    ignored={"temporal_compression_ratio": 4, "sample_size": 320, "force_upcast": True},
)
_FRAME = (
    ("body.0", "norm1"),
    ("body.2", "conv1"),
    ("body.3", "norm2"),
    ("body.5", "conv2"),
    ("shortcut", "conv_shortcut"),
)
_PLACE_OF_CONV = (2, 3, 3, 2)
"""Where their sequences of norm, activation (and dropout) have their convolution."""


def _links(config: AllegroConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    """Every tensor of ours in diffusers' format; they put the two frames of a pair before the channels."""
    found = link_modules(_modules(config), shapes)
    return [
        replace(link, order=Order(0, (2, link.their_shape[0] // 2), (1, 0))) if _makes_pairs(link.ours) else link
        for link in found
    ]


def _makes_pairs(ours: str) -> bool:
    return ours.startswith("decoder.levels.") and ".time.body.0.layer.conv." in ours and ".blocks." not in ours


def _modules(config: AllegroConfig) -> Iterator[Module]:
    yield Module("encoder.quant_conv", "quant_conv", 2)
    yield Module("decoder.post_quant_conv", "post_quant_conv", 2)
    for side, way in (("encoder", "down"), ("decoder", "up")):
        for name in ("conv_in", "conv_out"):
            yield Module(f"{side}.{name}", f"{side}.{name}", 2)
        for name in ("in", "out"):
            yield Module(f"{side}.time_{name}.body", f"{side}.temp_conv_{name}")
        yield Module(f"{side}.norm_out", f"{side}.conv_norm_out")
        for index, place in enumerate((0, 2)):
            yield from _block(f"{side}.middle.{place}", f"{side}.mid_block", index)
        yield from _attention(f"{side}.middle.1.body", f"{side}.mid_block.attentions.0")
        for level in range(len(config.widths)):
            ours, theirs = f"{side}.levels.{level}", f"{side}.{way}_blocks.{level}"
            for index in range(config.num_res_blocks + (side == "decoder")):
                yield from _block(f"{ours}.blocks.{index}", theirs, index)
            yield from _time(f"{ours}.time", f"{theirs}.temp_convs_down" if way == "down" else f"{theirs}.temp_conv_up")
            yield Module(f"{ours}.space" + (".1" if way == "up" else ""), f"{theirs}.{way}samplers.0.conv", 2)


def _block(ours: str, theirs: str, index: int) -> Iterator[Module]:
    for place, name in _FRAME:
        yield Module(f"{ours}.frame.{place}", f"{theirs}.resnets.{index}.{name}", 2)
    yield from _time(f"{ours}.time", f"{theirs}.temp_convs.{index}")


def _time(ours: str, theirs: str) -> Iterator[Module]:
    for index, place in enumerate(_PLACE_OF_CONV):
        yield Module(f"{ours}.body.{index}.layer.norm", f"{theirs}.conv{index + 1}.0")
        yield Module(f"{ours}.body.{index}.layer.conv", f"{theirs}.conv{index + 1}.{place}")


def _attention(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.group_norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.to_q", f"{theirs}.to_k", f"{theirs}.to_v"), 0)
    yield Module(f"{ours}.1.to_out", f"{theirs}.to_out.0", 0)


ALLEGRO = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, namings=("diffusers",))
