"""EasyAnimate's autoencoder as diffusers stores it: its configuration, and the names of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.magvit.model import MagvitConfig
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.errors import ModelError

_KEYS = ConfigKeys(
    "AutoencoderKLMagvit",
    MagvitConfig,
    names={
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "norm_num_groups": "groups",
        "scaling_factor": "scaling_factor",
    },
    fixed={"in_channels": 3, "out_channels": 3, "act_fn": "silu", "spatial_group_norm": True},
    ignored={"down_block_types": None, "up_block_types": None},
)
_BLOCK = (("body.0", "norm1"), ("body.2", "conv1"), ("body.3", "norm2"), ("body.5", "conv2"), ("shortcut", "shortcut"))


def _read(values: Mapping[str, Any], source: object) -> MagvitConfig:
    config = _KEYS.read(values, source)
    for key, expected in _block_types(config).items():
        if values.get(key, expected) != expected:
            raise ModelError(f"{source}: {key} is {values[key]!r}, only {expected!r} is supported here")
    return config


def _write(config: MagvitConfig) -> dict[str, Any]:
    return {**_KEYS.write(config), **_block_types(config)}


def _block_types(config: MagvitConfig) -> dict[str, list[str]]:
    """Steps in space, then in both."""
    rest = len(config.widths) - 1
    kinds = {"down_block_types": "DownBlock3D", "up_block_types": "UpBlock3D"}
    return {key: [f"Spatial{kind}", *[f"SpatialTemporal{kind}"] * rest] for key, kind in kinds.items()}


def _links(config: MagvitConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules(_modules(config), shapes)


def _modules(config: MagvitConfig) -> Iterator[Module]:
    yield Module("encoder.quant_conv", "quant_conv")
    yield Module("decoder.post_quant_conv", "post_quant_conv")
    for side, way in (("encoder", "down"), ("decoder", "up")):
        yield Module(f"{side}.conv_in", f"{side}.conv_in")
        yield Module(f"{side}.norm_out", f"{side}.conv_norm_out")
        yield Module(f"{side}.conv_out", f"{side}.conv_out")
        yield from _blocks(f"{side}.middle", f"{side}.mid_block", config.num_res_blocks)
        for level in range(len(config.widths)):
            ours, theirs = f"{side}.levels.{level}", f"{side}.{way}_blocks.{level}"
            yield from _blocks(f"{ours}.blocks", theirs, config.num_res_blocks + (side == "decoder"))
            yield Module(f"{ours}.step.conv", f"{theirs}.{way}sampler.conv")


def _blocks(ours: str, theirs: str, count: int) -> Iterator[Module]:
    for index in range(count):
        for place, name in _BLOCK:
            yield Module(f"{ours}.{index}.{place}", f"{theirs}.convs.{index}.{name}")


MAGVIT = Published(_KEYS.class_name, _read, _write, _links, namings=("diffusers",))
