"""One narrow model of every published architecture, by preset: fields of its configuration."""

from typing import Any

import diffusers
import torch
from family_checks import randomise
from torch import nn

from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter

_STATISTICS = {"mean": (), "std": ()}
_LTX = {"latent_channels": 8, "patch_size": 2}
_LTX_FOLDS = {**_LTX, "decoder_widths": (16, 32, 64), "decoder_blocks": (1, 1, 1, 1), "encoder_blocks": (1, 1, 1, 1, 1)}
_KL = {"widths": (16, 32, 32, 32), "groups": 8, "num_res_blocks": 1}
_ATTENTION_LEVELS = {"head_dim": 8, "latent_channels": 4}

NARROW: dict[str, dict[str, Any]] = {
    "vidlatent-tiny": {"latent_channels": 4, "encoder_widths": (8, 16), "decoder_widths": (8, 16)},
    "wan-2.1": {"base_dim": 8},
    "wan-2.2": {"base_dim": 8, "decoder_base_dim": 8},
    "qwen-image": {"base_dim": 8},
    "ltx-video-0.9.0": {**_LTX, "encoder_widths": (8, 16, 32, 32), "decoder_widths": (8, 16, 32, 32)},
    "ltx-video-0.9.5": {**_LTX_FOLDS, "encoder_widths": (8, 16, 32, 64, 64)},
    "ltx-2": {**_LTX_FOLDS, "encoder_widths": (16, 32, 64, 64)},
    "ltx-2.5": {
        **_LTX,
        "encoder_widths": (16, 32, 64, 64),
        "encoder_blocks": (1, 1, 1, 1, 1),
        "decoder_widths": (64, 64, 32, 32, 32),
        "decoder_blocks": (1, 1, 1, 1, 2),
        "decoder_kernels": ((3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (5, 5, 5)),
        "head_dim": 16,
        "time_channels": 16,
    },
    "mochi-1": {
        "encoder_widths": (32, 32, 32, 32),
        "decoder_widths": (32, 32, 32, 32),
        "blocks": (1, 1, 1, 1, 1),
    },
    "allegro": {"widths": (8, 16, 16, 16), "groups": 4, "num_res_blocks": 1},
    "taehv": {"encoder_width": 8, "decoder_widths": (32, 16, 8, 8), "num_blocks": 1},
    "sd": _KL,
    "flux.1": _KL,
    "svd": {"widths": (32, 32, 32, 32)},
    "dc-ae-f32c32-sana": {
        **_ATTENTION_LEVELS,
        "encoder_widths": (8, 8, 16, 16, 16, 16),
        "decoder_widths": (8, 8, 16, 16, 16, 16),
        "encoder_depths": (1,) * 6,
        "decoder_depths": (1,) * 6,
    },
    "cogvideox-2b": {"widths": (8, 16, 16, 16), "groups": 4, "num_res_blocks": 1},
    "cosmos-1.0": {"encoder_widths": (8, 16, 16, 16), "decoder_widths": (16, 16, 16, 16), "num_res_blocks": 1},
    "cosmos-0.1-di8x8": {"widths": (8, 16, 16), "groups": 4, "num_res_blocks": 1, "features": 6},
    "hunyuan-video": {"widths": (8, 16, 16, 16), "groups": 4, "num_res_blocks": 1},
    "easyanimate-5": {"widths": (8, 16, 16, 16), "groups": 4, "num_res_blocks": 1},
    "kvae-1": {"base": 32, "multipliers": (1, 1), "num_res_blocks": 1, "latent_channels": 2, "time_stride": 2},
    "vidtok-kl-488-4": {"base": 8, "multipliers": (1, 1, 2), "num_res_blocks": 1},
    "wf-vae-l-16": {
        "base": 4,
        "encoder_flow": 2,
        "decoder_flow": 3,
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "latent_channels": 2,
    },
    "lean-vae-4": {"low": 3, "high": 5, "apart_layers": 1, "joint_layers": 1, "steps": 1, "step_layers": 1},
    "dc-ae-f32t4c128": {
        "latent_channels": 2,
        "widths": (4, 8),
        "encoder_depths": (1, 1),
        "decoder_depths": (1, 1),
        "time_steps": (True,),
        "first_attention": 1,
        "head_dim": 4,
    },
    "dc-ae-v-f32t4c32": {"latent_channels": 2, "widths": (8, 8, 8), "depths": (1, 1, 1), "chunk": 8},
    "minimax-h3": {
        "widths": (8, 8, 16),
        "num_res_blocks": 1,
        "space_steps": (2, 2, 1),
        "time_steps": (2, 2, 1),
        "groups": 4,
        "decoder_blocks": 1,
        "heads": 2,
        "head_dim": 8,
        "latent_channels": 4,
        "tile": 32,
        "tile_overlap": 8,
    },
    "hunyuan-video-1.5": {"widths": (8, 16, 16, 32, 32), "num_res_blocks": 1, "latent_channels": 16},
}
"""Presets that differ from one of these in numbers only are left away."""


@torch.no_grad()
def theirs(preset: str, **overrides: Any) -> nn.Module:
    """diffusers' model of the narrow configuration, with random weights."""
    entry = CATALOG[preset]
    config = type(entry.config)(**{**vars(entry.config), **NARROW[preset], **overrides})
    values = {key: value for key, value in adapter(entry.family).write_config(config).items() if key[0] != "_"}
    return randomise(getattr(diffusers, adapter(entry.family).class_name)(**values))
