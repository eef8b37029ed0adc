"""Wan's models as diffusers stores them: the configuration in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidlatent.autoencoders.published import Published, parse_config
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.autoencoders.wan.weights import links
from vidlatent.errors import ModelError

CLASS_NAME = "AutoencoderKLWan"

_NAMES = {
    "base_dim": "base_dim",
    "decoder_base_dim": "decoder_base_dim",
    "z_dim": "latent_channels",
    "dim_mult": "multipliers",
    "num_res_blocks": "num_res_blocks",
    "temperal_downsample": "temporal_downsample",
    "is_residual": "residual_levels",
    "patch_size": "patch_size",
    "latents_mean": "mean",
    "latents_std": "std",
}
"""diffusers' keys and ours."""

_FIXED: dict[str, Any] = {"attn_scales": [], "dropout": 0.0}
"""Keys that have one value in every published model."""

_DERIVED = ("in_channels", "out_channels")
_IGNORED = ("scale_factor_temporal", "scale_factor_spatial", "clip_output")
"""Keys that do not change the model: strides follow from the levels, and diffusers always clips."""


def read_config(values: Mapping[str, Any], source: object) -> WanConfig:
    """Our configuration from a diffusers config.json. Raises `ModelError` for keys and values that Wan never has."""
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    known = [*_NAMES, *_FIXED, *_DERIVED, *_IGNORED]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ModelError(f"{source}: unknown keys {', '.join(unknown)}; {CLASS_NAME} has {', '.join(known)}")
    given = {ours: values[theirs] for theirs, ours in _NAMES.items() if theirs in values}
    if given.get("patch_size", 1) is None:
        given["patch_size"] = 1
    config = parse_config(WanConfig, given, source)
    for key, expected in {**_FIXED, **dict.fromkeys(_DERIVED, config.video_channels)}.items():
        if values.get(key, expected) != expected:
            raise ModelError(f"{source}: {key} is {values[key]!r}, only {expected!r} is supported here")
    return config


def write_config(config: WanConfig) -> dict[str, Any]:
    """A diffusers config.json from our configuration."""
    values: dict[str, Any] = {"_class_name": CLASS_NAME, **_FIXED, **dict.fromkeys(_DERIVED, config.video_channels)}
    for theirs, ours in _NAMES.items():
        value = getattr(config, ours)
        values[theirs] = list(value) if isinstance(value, tuple) else value
    time, space, _ = config.stride
    values.update(scale_factor_temporal=time, scale_factor_spatial=space)
    values["latents_mean"] = values["latents_mean"] or [0.0] * config.latent_channels
    values["latents_std"] = values["latents_std"] or [1.0] * config.latent_channels
    if config.patch_size == 1:
        values["patch_size"] = None
    return values


WAN = Published(CLASS_NAME, read_config, write_config, links)
