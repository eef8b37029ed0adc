"""Mochi as diffusers stores it: its configuration, and the names of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.mochi.config import MochiConfig
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.renaming import Rule, rename

_KEYS = ConfigKeys(
    "AutoencoderKLMochi",
    MochiConfig,
    names={
        "encoder_block_out_channels": "encoder_widths",
        "decoder_block_out_channels": "decoder_widths",
        "latent_channels": "latent_channels",
        "layers_per_block": "blocks",
        "temporal_expansions": "temporal",
        "spatial_expansions": "spatial",
        "add_attention_block": "attention",
        "latents_mean": "mean",
        "latents_std": "std",
    },
    fixed={"in_channels": 15, "out_channels": 3, "act_fn": "silu", "scaling_factor": 1.0},
)
_RULES: tuple[Rule, ...] = (
    (r"layers\.(\d+)\.resnets\.body\.", r"resnets.\1."),
    (r"layers\.(\d+)\.attentions\.body\.norm\.", r"norms.\1.norm_layer."),
    (r"layers\.(\d+)\.attentions\.body\.attend\.", r"attentions.\1."),
    (r"to_out\.", "to_out.0."),
    (r"\b(norm1|norm2|norm_out)\.", r"\1.norm_layer."),
    (r"\b(conv1|conv2|down_blocks\.\d+\.conv_in)\.", r"\1.conv."),
)


def links(config: MochiConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    """Every tensor of ours in diffusers' format."""
    return [link for name, shape in shapes.items() for link in _tensor(name, tuple(shape))]


def _tensor(ours: str, shape: Shape) -> Iterator[Link]:
    theirs = rename(ours, _RULES)
    if "proj" in ours:  # theirs are linear layers
        shape = shape[:2]
    if "to_qkv" not in theirs:
        yield Link(ours, theirs, shape)
        return
    for index, part in enumerate("qkv"):
        their_shape = (shape[0] // 3, *shape[1:])
        yield Link(ours, theirs.replace("to_qkv", f"to_{part}"), their_shape, part=(index, 3))


def _write(config: MochiConfig) -> dict[str, Any]:
    channels = config.latent_channels
    return _KEYS.write(replace(config, mean=config.mean or (0.0,) * channels, std=config.std or (1.0,) * channels))


MOCHI = Published(_KEYS.class_name, _KEYS.read, _write, links, namings=("diffusers",))
