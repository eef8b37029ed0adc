"""Cosmos' tokenizers as diffusers stores them, and as NVIDIA does: compiled programs, of which the weights are read.

NVIDIA's names are those of github.com/nvidia-cosmos/cosmos-predict1, cosmos_predict1/tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.cosmos.config import CosmosConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.renaming import Rule, rename

_KEYS = ConfigKeys(
    "AutoencoderKLCosmos",
    CosmosConfig,
    names={
        "latent_channels": "latent_channels",
        "encoder_block_out_channels": "encoder_widths",
        "decode_block_out_channels": "decoder_widths",
        "num_layers": "num_res_blocks",
        "patch_size": "patch_size",
        "temporal_compression_ratio": "time_stride",
        "spatial_compression_ratio": "space_stride",
        "latents_mean": "mean",
        "latents_std": "std",
    },
    fixed={
        "in_channels": 3,
        "out_channels": 3,
        "attention_resolutions": [32],
        "resolution": 1024,
        "patch_type": "haar",
        "scaling_factor": 1.0,
    },
)
_ATTENTIONS = ((1, "attentions"), (2, "temp_attentions"))
_STEPS = {
    "encoder": ("down", {"space.body": "conv1", "time.body": "conv2", "mix": "conv3"}),
    "decoder": ("up", {"time.2.body": "conv1", "space.1.body": "conv2", "mix": "conv3"}),
}
"""Their word for the way of a side, and our names and theirs of what a step between levels consists of."""

_NVIDIA: tuple[Rule, ...] = (
    (r"\.conv_s$", ".0.conv3d"),
    (r"\.conv_t$", ".1.conv3d"),
    (r"(down|up)_blocks\.(\d+)\.resnets\.", r"\1.\2.block."),
    (r"(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.(\w+)$", r"\1.\2.\3sample.\4.conv3d"),
    (r"conv_shortcut$", "nin_shortcut.conv3d"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1.0"),
    (r"mid_block\.temp_attentions\.0", "mid.attn_1.1"),
    (r"\.to_([qkv])$", r".\1.conv3d"),
    (r"\.to_out\.0$", ".proj_out.conv3d"),
    (r"quant_conv$", "quant_conv.conv3d"),
)
_BUFFERS = (".wavelets", "._arange", ".patch_size_buffer", "quantizer._basis", "quantizer.implicit_codebook")
"""Constants that NVIDIA keeps beside the weights."""

_LEVELS = "quantizer._levels"


def _links(config: CosmosConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    modules = [*_side(config, "encoder", naming), *_side(config, "decoder", naming)]
    return link_modules(map(_by_nvidia, modules) if naming == "original" else modules, shapes)


def _by_nvidia(module: Module) -> Module:
    names = (module.theirs,) if isinstance(module.theirs, str) else module.theirs
    return replace(module, theirs=tuple(rename(name, _NVIDIA) for name in names))


def unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The weights alone, and the levels of a quantizer where they are there.

    A training checkpoint names them as those of a network, and keeps a running mean of them beside.
    """
    tensors = {name.removeprefix("network."): t for name, t in tensors.items() if not name.startswith("ema.")}
    fields = {"levels": tuple(tensors[_LEVELS].tolist())} if _LEVELS in tensors else {}
    return fields, {name: t for name, t in tensors.items() if name != _LEVELS and not name.endswith(_BUFFERS)}


def _side(config: CosmosConfig, side: str, naming: Naming) -> Iterator[Module]:
    yield Module(f"{side}.quant_conv", "quant_conv")
    yield Module(f"{side}.post_quant_conv", "post_quant_conv")
    yield from _projection(f"{side}.conv_in", f"{side}.conv_in")
    yield Module(f"{side}.norm_out", f"{side}.norm_out.norm")
    yield from _projection(f"{side}.conv_out", f"{side}.conv_out")
    for index, ours in enumerate((0, 3)):
        yield from _block(f"{side}.middle.{ours}", f"{side}.mid_block.resnets.{index}")
    for ours, theirs in _ATTENTIONS:
        yield from _attention(f"{side}.middle.{ours}.body", f"{side}.mid_block.{theirs}.0")
    way, steps = _STEPS[side]
    widths, count = config.encoder_widths, config.num_res_blocks
    if side == "decoder":
        widths, count = config.decoder_widths, count + 1
    last = len(widths) - 2
    for level in range(last + 1):
        number = last - level if side == "decoder" and naming == "original" else level
        place, their_place = f"{side}.levels.{level}", f"{side}.{way}_blocks.{number}"
        for index in range(count):
            yield from _block(f"{place}.{index}", f"{their_place}.resnets.{index}")
        for step, name in steps.items():
            yield Module(f"{place}.{count}.{step}", f"{their_place}.{way}samplers.0.{name}")


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, index in ((0, 1), (3, 2)):
        yield Module(f"{ours}.body.{place}", f"{theirs}.norm{index}.norm")
        yield from _projection(f"{ours}.body.{place + 2}", f"{theirs}.conv{index}")
    yield Module(f"{ours}.shortcut", f"{theirs}.conv_shortcut")


def _projection(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.space", f"{theirs}.conv_s")
    yield Module(f"{ours}.time", f"{theirs}.conv_t")


def _attention(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.norm.norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.to_q", f"{theirs}.to_k", f"{theirs}.to_v"))
    yield Module(f"{ours}.1.to_out", f"{theirs}.to_out.0")


COSMOS = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, unpack)
