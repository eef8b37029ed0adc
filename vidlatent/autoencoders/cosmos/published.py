"""Cosmos' tokenizers as diffusers stores them; NVIDIA's own files are compiled programs, which are not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.cosmos.config import CosmosConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published

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


def _links(config: CosmosConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules([*_side(config, "encoder"), *_side(config, "decoder")], shapes)


def _side(config: CosmosConfig, side: str) -> Iterator[Module]:
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
    for level in range(len(widths) - 1):
        place, their_place = f"{side}.levels.{level}", f"{side}.{way}_blocks.{level}"
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


COSMOS = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, namings=("diffusers",))
