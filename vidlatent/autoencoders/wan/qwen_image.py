"""Qwen-Image's autoencoder: Wan 2.1's architecture with its own weights, under a class of its own in diffusers.

The authors train on images, which are clips of one frame. ComfyUI keeps the weights under the names of Wan's authors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.published import Published
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.autoencoders.wan.weights import links

_KEYS = ConfigKeys(
    "AutoencoderKLQwenImage",
    WanConfig,
    names={
        "base_dim": "base_dim",
        "z_dim": "latent_channels",
        "dim_mult": "multipliers",
        "num_res_blocks": "num_res_blocks",
        "temperal_downsample": "temporal_downsample",
        "latents_mean": "mean",
        "latents_std": "std",
    },
    fixed={"attn_scales": [], "dropout": 0.0, "input_channels": 3},
)


def _write(config: WanConfig) -> dict[str, Any]:
    channels = config.latent_channels
    return _KEYS.write(replace(config, mean=config.mean or (0.0,) * channels, std=config.std or (1.0,) * channels))


QWEN_IMAGE = Published(_KEYS.class_name, _KEYS.read, _write, links)
