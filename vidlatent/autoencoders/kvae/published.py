"""KVAE as diffusers stores it: its configuration, and the names of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.kvae.model import KVAEConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published

_KEYS = ConfigKeys(
    "AutoencoderKLKVAEVideo",
    KVAEConfig,
    names={
        "ch": "base",
        "ch_mult": "multipliers",
        "num_res_blocks": "num_res_blocks",
        "z_channels": "latent_channels",
        "temporal_compress_times": "time_stride",
    },
    fixed={"in_channels": 3, "out_ch": 3},
)
_BLOCK = (
    ("body.0", "norm1.norm_layer"),
    ("body.2", "conv1.conv"),
    ("body.3", "norm2.norm_layer"),
    ("body.5", "conv2.conv"),
    ("shortcut", "nin_shortcut"),
)


def _links(config: KVAEConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules([*_encoder(config), *_decoder(config)], shapes)


def _encoder(config: KVAEConfig) -> Iterator[Module]:
    yield Module("encoder.conv_in", "encoder.conv_in.conv")
    yield Module("encoder.norm_out", "encoder.norm_out.norm_layer")
    yield Module("encoder.conv_out", "encoder.conv_out.conv")
    for index in range(2):
        yield from _block(f"encoder.middle.{index}", f"encoder.mid.block_{index + 1}")
    for level in range(len(config.multipliers)):
        ours, theirs = f"encoder.levels.{level}", f"encoder.down.{level}"
        for index in range(config.num_res_blocks):
            yield from _block(f"{ours}.blocks.{index}", f"{theirs}.block.{index}")
        yield Module(f"{ours}.step.space.body", f"{theirs}.downsample.spatial_conv")
        yield Module(f"{ours}.step.time.body", f"{theirs}.downsample.temporal_conv.conv")
        yield Module(f"{ours}.step.mix", f"{theirs}.downsample.linear")


def _decoder(config: KVAEConfig) -> Iterator[Module]:
    yield Module("decoder.conv_in.branches.0", "decoder.conv_in.conv")
    yield from _spatial_norm("decoder.norm_out", "decoder.norm_out")
    yield Module("decoder.conv_out", "decoder.conv_out.conv")
    for index in range(2):
        yield from _conditioned_block(f"decoder.middle.{index}", f"decoder.mid.block_{index + 1}")
    last = len(config.multipliers) - 1
    for level in range(last + 1):
        ours, theirs = f"decoder.levels.{level}", f"decoder.up.{last - level}"  # they count from the finest
        for index in range(config.num_res_blocks + 1):
            yield from _conditioned_block(f"{ours}.blocks.{index}", f"{theirs}.block.{index}")
        step = f"{ours}.step.0.branches.0"
        yield Module(f"{step}.1.2.body", f"{theirs}.upsample.temporal_conv.conv")
        yield Module(f"{step}.2.1.body", f"{theirs}.upsample.spatial_conv")
        yield Module(f"{step}.3", f"{theirs}.upsample.linear")


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}")


def _conditioned_block(block: str, theirs: str) -> Iterator[Module]:
    ours = f"{block}.branches.0"
    yield from _spatial_norm(f"{ours}.body.norm1", f"{theirs}.norm1")
    yield Module(f"{ours}.body.conv1.branches.0.1", f"{theirs}.conv1.conv")
    yield from _spatial_norm(f"{ours}.body.norm2", f"{theirs}.norm2")
    yield Module(f"{ours}.body.conv2", f"{theirs}.conv2.conv")
    yield Module(f"{ours}.shortcut.mix", f"{theirs}.nin_shortcut")


def _spatial_norm(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(ours, f"{theirs}.norm_layer.norm_layer")
    yield Module(f"{ours}.y", f"{theirs}.conv_y")
    yield Module(f"{ours}.b", f"{theirs}.conv_b")


KVAE = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, namings=("diffusers",))
