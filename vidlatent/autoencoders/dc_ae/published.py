"""DC-AE as diffusers stores it, and as its authors do.

The authors' names are those of github.com/mit-han-lab/efficientvit, efficientvit/models/efficientvit/dc_ae.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.dc_ae.config import DCAEConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.renaming import Rule, rename

_KEYS = ConfigKeys(
    "AutoencoderDC",
    DCAEConfig,
    names={
        "latent_channels": "latent_channels",
        "attention_head_dim": "head_dim",
        "encoder_block_types": "encoder_blocks",
        "decoder_block_types": "decoder_blocks",
        "encoder_block_out_channels": "encoder_widths",
        "decoder_block_out_channels": "decoder_widths",
        "encoder_layers_per_block": "encoder_depths",
        "decoder_layers_per_block": "decoder_depths",
        "encoder_qkv_multiscales": "encoder_scales",
        "decoder_qkv_multiscales": "decoder_scales",
        "decoder_norm_types": "decoder_norms",
        "decoder_act_fns": "decoder_activations",
        "downsample_block_type": "down",
        "upsample_block_type": "up",
        "encoder_out_shortcut": "encoder_shortcut",
        "decoder_in_shortcut": "decoder_shortcut",
        "decoder_conv_act_fn": "out_activation",
        "scaling_factor": "scaling_factor",
    },
    fixed={"in_channels": 3},
    absent={
        "encoder_block_types": "ResBlock",
        "decoder_block_types": "ResBlock",
        "downsample_block_type": "pixel_unshuffle",
        "upsample_block_type": "pixel_shuffle",
        "scaling_factor": 1.0,
    },
)
_COUNTER = "num_batches_tracked"
"""A tensor that batch norms carry for training, without a meaning here."""

_AUTHORS: tuple[Rule, ...] = (
    (r"^encoder\.conv_in", "encoder.project_in.conv"),
    (r"^encoder\.conv_out", "encoder.project_out.main.op_list.0.conv"),
    (r"^decoder\.conv_in", "decoder.project_in.main.conv"),
    (r"^decoder\.norm_out", "decoder.project_out.op_list.0"),
    (r"^decoder\.conv_out", "decoder.project_out.op_list.2.conv"),
    (r"(?:down|up)_blocks\.(\d+)\.(\d+)", r"stages.\1.op_list.\2"),
    (r"\.attn\.to_[qkv]$", ".context_module.main.qkv.conv"),
    (r"\.attn\.to_qkv_multiscale\.(\d+)\.proj_in", r".context_module.main.aggreg.\1.0"),
    (r"\.attn\.to_qkv_multiscale\.(\d+)\.proj_out", r".context_module.main.aggreg.\1.1"),
    (r"\.attn\.to_out", ".context_module.main.proj.conv"),
    (r"\.attn\.norm_out", ".context_module.main.proj.norm"),
    (r"\.conv_out\.conv_(inverted|depth|point)$", r".local_module.main.\1_conv.conv"),
    (r"\.conv_out\.norm", ".local_module.main.point_conv.norm"),
    (r"(stages\.\d+\.op_list\.\d+)\.conv([12])$", r"\1.main.conv\2.conv"),
    (r"(stages\.\d+\.op_list\.\d+)\.norm$", r"\1.main.conv2.norm"),
)
_STEP = r"stages\.\d+\.op_list\.\d+)\.conv$"


def _links(config: DCAEConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    modules = [*_side(config, "encoder"), *_side(config, "decoder")]
    if naming == "original":
        strided = [] if config.down == "pixel_unshuffle" else [(r"(encoder\." + _STEP, r"\1.main.conv")]
        bare = [] if config.encoder_shortcut else [(r"^(encoder\.project_out)\.main", r"\1")]
        bare += [] if config.decoder_shortcut else [(r"^(decoder\.project_in)\.main", r"\1")]
        rules = (*_AUTHORS, *bare, *strided, ("(" + _STEP, r"\1.main.conv.conv"))
        modules = [_by_authors(module, rules) for module in modules]
    return link_modules(modules, shapes)


def _by_authors(module: Module, rules: Sequence[Rule]) -> Module:
    """They keep queries, keys and values in one, and linear layers as pointwise convolutions."""
    name = module.theirs if isinstance(module.theirs, str) else module.theirs[0]
    return Module(module.ours, rename(name, rules), 2)


def _side(config: DCAEConfig, side: str) -> Iterator[Module]:
    is_encoder = side == "encoder"
    for end in (f"{side}.conv_in", f"{side}.conv_out"):
        for ours, theirs in (("", ""), (".body", ""), (".conv", ".conv")):
            yield Module(f"{end}{ours}", f"{end}{theirs}", 2)
    yield Module(f"{side}.norm_out", f"{side}.norm_out")
    last = len(config.encoder_widths) - 1
    depths, scales = config.encoder_depths, config.encoder_scales
    if not is_encoder:
        depths, scales = config.decoder_depths, config.decoder_scales
    for level, depth in enumerate(depths):
        ours = f"{side}.levels.{level if is_encoder else last - level}"
        theirs = f"{side}.{'down' if is_encoder else 'up'}_blocks.{level}"
        for index in range(depth + 1):
            yield Module(f"{ours}.{index}.body.conv", f"{theirs}.{index}.conv", 2)
            yield from _block(f"{ours}.{index}", f"{theirs}.{index}", max(map(len, scales)))


def _block(ours: str, theirs: str, most_scales: int) -> Iterator[Module]:
    for name in ("conv1", "conv2", "norm"):
        yield Module(f"{ours}.body.{name}", f"{theirs}.{name}", 2)
    for name in ("conv_inverted", "conv_depth", "conv_point", "norm"):
        yield Module(f"{ours}.1.body.{name}", f"{theirs}.conv_out.{name}", 2)
    attention, their_attention = f"{ours}.0.body", f"{theirs}.attn"
    q, k, v = (f"{their_attention}.to_{part}" for part in "qkv")
    yield Module(f"{attention}.qkv", (q, k, v), 0)
    yield Module(f"{attention}.to_out", f"{their_attention}.to_out", 0)
    yield Module(f"{attention}.norm_out", f"{their_attention}.norm_out")
    for scale in range(most_scales):
        for index, name in enumerate(("proj_in", "proj_out")):
            place = f"{attention}.scales.branches.{scale + 1}.{index}"
            yield Module(place, f"{their_attention}.to_qkv_multiscale.{scale}.{name}", 2)


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    return {}, {name: tensor for name, tensor in tensors.items() if not name.endswith(f".{_COUNTER}")}


def _pack(config: DCAEConfig) -> dict[str, Tensor]:
    """The counters, at nothing."""
    last, counters = len(config.decoder_widths) - 1, {}
    for level, (norm, depth) in enumerate(zip(config.by_level("decoder_norms"), config.decoder_depths, strict=True)):
        has_step, is_attention = level < last and depth, config.by_level("decoder_blocks")[level] != "ResBlock"
        for index in range(depth if norm == "batch_norm" else 0):
            place = f"decoder.up_blocks.{level}.{index + bool(has_step)}"
            counters[f"{place}.{'attn.norm_out' if is_attention else 'norm'}.{_COUNTER}"] = torch.tensor(0)
    return counters


DC_AE = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, _unpack, _pack)
