"""CogVideoX's autoencoder as diffusers stores it, and as its authors do.

The authors' names (github.com/zai-org/CogVideo, sat) are as diffusers' scripts/convert_cogvideox_to_diffusers.py reads
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.cogvideox.config import CogVideoXConfig
from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.renaming import rename

_KEYS = ConfigKeys(
    "AutoencoderKLCogVideoX",
    CogVideoXConfig,
    names={
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "latent_channels": "latent_channels",
        "norm_num_groups": "groups",
        "temporal_compression_ratio": "time_stride",
        "scaling_factor": "scaling_factor",
        "invert_scale_latents": "invert_scale_latents",
    },
    fixed={
        "in_channels": 3,
        "out_channels": 3,
        "act_fn": "silu",
        "norm_eps": 1e-6,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "shift_factor": None,
        "latents_mean": None,
        "latents_std": None,
    },
    per_level={"down_block_types": "CogVideoXDownBlock3D", "up_block_types": "CogVideoXUpBlock3D"},
    ignored={"sample_height": 480, "sample_width": 720, "force_upcast": True},
)


_AUTHORS = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"down_blocks\.", "down."),
    (r"resnets\.", "block."),
    (r"(down|up)samplers\.0", r"\1sample"),
    (r"conv_shortcut$", "nin_shortcut"),
)


def _links(config: CogVideoXConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    modules = [*_encoder(config), *_decoder(config)]
    if naming == "original":
        last = len(config.widths) - 1
        levels = [(rf"up_blocks\.{level}\.", f"up.{last - level}.") for level in range(last + 1)]  # finest first
        rules = (*_AUTHORS, *levels)
        modules = [replace(module, theirs=rename(str(module.theirs), rules)) for module in modules]
    return link_modules(modules, shapes)


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The authors keep the discriminator beside the autoencoder."""
    return {}, {name: tensor for name, tensor in tensors.items() if not name.startswith("loss.")}


def _encoder(config: CogVideoXConfig) -> Iterator[Module]:
    yield Module("encoder.conv_in", "encoder.conv_in.conv")
    yield Module("encoder.norm_out", "encoder.norm_out")
    yield Module("encoder.conv_out", "encoder.conv_out.conv")
    for ours, theirs in _blocks(config, "encoder"):
        yield Module(f"{ours}.body.0", f"{theirs}.norm1")
        yield Module(f"{ours}.body.2", f"{theirs}.conv1.conv")
        yield Module(f"{ours}.body.3", f"{theirs}.norm2")
        yield Module(f"{ours}.body.5", f"{theirs}.conv2.conv")
        yield Module(f"{ours}.shortcut", f"{theirs}.conv_shortcut")
    for level in range(len(config.widths) - 1):
        ours = f"encoder.levels.{level}.{config.num_res_blocks}.space"
        yield Module(ours, f"encoder.down_blocks.{level}.downsamplers.0.conv", 2)


def _decoder(config: CogVideoXConfig) -> Iterator[Module]:
    yield Module("decoder.conv_in.branches.0", "decoder.conv_in.conv")
    yield from _spatial_norm("decoder.norm_out", "decoder.norm_out")
    yield Module("decoder.conv_out", "decoder.conv_out.conv")
    for block, theirs in _blocks(config, "decoder"):
        ours = f"{block}.branches.0"
        yield from _spatial_norm(f"{ours}.body.norm1", f"{theirs}.norm1")
        yield Module(f"{ours}.body.conv1.branches.0.1", f"{theirs}.conv1.conv")
        yield from _spatial_norm(f"{ours}.body.norm2", f"{theirs}.norm2")
        yield Module(f"{ours}.body.conv2", f"{theirs}.conv2.conv")
        yield Module(f"{ours}.shortcut.mix", f"{theirs}.conv_shortcut")
    for level in range(len(config.widths) - 1):
        ours = f"decoder.levels.{level}.{config.num_res_blocks + 1}.space.branches.0.1"
        yield Module(ours, f"decoder.up_blocks.{level}.upsamplers.0.conv", 2)


def _blocks(config: CogVideoXConfig, side: str) -> Iterator[tuple[str, str]]:
    """Every block of a side, under our name and theirs."""
    for index in range(2):
        yield f"{side}.middle.{index}", f"{side}.mid_block.resnets.{index}"
    way, count = ("down", 0) if side == "encoder" else ("up", 1)
    for level in range(len(config.widths)):
        for index in range(config.num_res_blocks + count):
            yield f"{side}.levels.{level}.{index}", f"{side}.{way}_blocks.{level}.resnets.{index}"


def _spatial_norm(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(ours, f"{theirs}.norm_layer")
    yield Module(f"{ours}.y", f"{theirs}.conv_y.conv")
    yield Module(f"{ours}.b", f"{theirs}.conv_b.conv")


COGVIDEOX = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, _unpack)
