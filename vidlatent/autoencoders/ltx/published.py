"""LTX's models as diffusers stores them: two classes, one architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.ltx.config import LTXConfig
from vidlatent.autoencoders.ltx.weights import links, links_2, pack, unpack
from vidlatent.autoencoders.published import Published
from vidlatent.errors import ModelError

_NAMES = {
    "latent_channels": "latent_channels",
    "block_out_channels": "encoder_widths",
    "layers_per_block": "encoder_blocks",
    "spatio_temporal_scaling": "downsample",
    "downsample_type": "downsample_kinds",
    "decoder_block_out_channels": "decoder_widths",
    "decoder_layers_per_block": "decoder_blocks",
    "decoder_spatio_temporal_scaling": "upsample",
    "upsample_residual": "upsample_residual",
    "upsample_factor": "upsample_factor",
    "decoder_inject_noise": "inject_noise",
    "timestep_conditioning": "timestep_conditioning",
    "decoder_causal": "decoder_causal",
    "patch_size": "patch_size",
    # of ours: diffusers is given them at every call, and passes over them in a file
    "decode_timestep": "decode_timestep",
    "noise_seed": "noise_seed",
}
_OURS = ("decode_timestep", "noise_seed")
_FIXED = {
    "in_channels": 3,
    "out_channels": 3,
    "patch_size_t": 1,
    "resnet_norm_eps": 1e-6,
    "scaling_factor": 1.0,
    "encoder_causal": True,
}
_DERIVED: dict[str, Any] = dict.fromkeys(
    ("down_block_types", "spatial_compression_ratio", "temporal_compression_ratio")
)

_VIDEO = ConfigKeys("AutoencoderKLLTXVideo", LTXConfig, names=_NAMES, fixed=_FIXED, ignored=_DERIVED)
_LTX_2 = ConfigKeys(
    "AutoencoderKLLTX2Video",
    LTXConfig,
    names={**_NAMES, "upsample_type": "upsample_kinds", "decoder_spatial_padding_mode": "decoder_padding"},
    fixed={**_FIXED, "encoder_spatial_padding_mode": "zeros"},
    ignored=_DERIVED,
    absent={
        "block_out_channels": (256, 512, 1024, 2048),
        "layers_per_block": (4, 6, 6, 2, 2),
        "spatio_temporal_scaling": (True,) * 4,
        "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        "decoder_block_out_channels": (256, 512, 1024),
        "decoder_layers_per_block": (5, 5, 5, 5),
        "decoder_spatio_temporal_scaling": (True,) * 3,
        "decoder_inject_noise": (False,) * 4,
        "upsample_type": ("spatiotemporal",) * 3,
        "upsample_residual": (True,) * 3,
        "upsample_factor": (2, 2, 2),
        "decoder_causal": True,
        "decoder_spatial_padding_mode": "reflect",
    },
)


def _published(keys: ConfigKeys[LTXConfig], block_type: Callable[[LTXConfig], str], names: Any) -> Published:
    def read(values: Mapping[str, Any], source: object) -> LTXConfig:
        config = keys.read(values, source)
        expected = [block_type(config)] * len(config.downsample)
        if list(values.get("down_block_types") or expected) != expected:
            raise ModelError(f"{source}: down_block_types is {values['down_block_types']}, its levels need {expected}")
        return config

    def write(config: LTXConfig) -> dict[str, Any]:
        values = keys.write(replace(config, mean=(), std=()))  # statistics are tensors there
        values["down_block_types"] = [block_type(config)] * len(config.downsample)
        values["temporal_compression_ratio"], values["spatial_compression_ratio"], _ = config.stride
        default = LTXConfig()
        return {k: v for k, v in values.items() if k not in _OURS or v != getattr(default, k)}

    return Published(keys.class_name, read, write, names, unpack, pack)


LTX_VIDEO = _published(
    _VIDEO, lambda config: "LTXVideo095DownBlock3D" if config.has_folds else "LTXVideoDownBlock3D", links
)
LTX_2_VIDEO = _published(_LTX_2, lambda config: "LTX2VideoDownBlock3D", links_2)  # noqa: ARG005
