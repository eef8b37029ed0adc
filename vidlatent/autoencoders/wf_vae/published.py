"""WF-VAE as its authors store it (github.com/PKU-YuanGroup/WF-VAE): a folder in diffusers' format.

The wavelets' constants lie beside the weights: they are written, and passed over when read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.wf_vae.model import WFVAEConfig
from vidlatent.autoencoders.wf_vae.wavelets import bands

_KEYS = ConfigKeys(
    "WFVAEModel",
    WFVAEConfig,
    names={
        "latent_dim": "latent_channels",
        "base_channels": "base",
        "encoder_num_resblocks": "encoder_blocks",
        "decoder_num_resblocks": "decoder_blocks",
        "encoder_energy_flow_hidden_size": "encoder_flow",
        "decoder_energy_flow_hidden_size": "decoder_flow",
        "connect_res_layer_num": "flow_blocks",
        "use_attention": "middle_attention",
        "scale": "scale",
        "shift": "shift",
    },
    fixed={
        "attention_type": "AttnBlock3DFix",
        "norm_type": "layernorm",
        "t_interpolation": "trilinear",
        "l1_dowmsample_block": "Downsample",
        "l1_downsample_wavelet": "HaarWaveletTransform2D",
        "l2_dowmsample_block": "Spatial2xTime2x3DDownsample",
        "l2_downsample_wavelet": "HaarWaveletTransform3D",
        "l1_upsample_block": "Upsample",
        "l1_upsample_wavelet": "InverseHaarWaveletTransform2D",
        "l2_upsample_block": "Spatial2xTime2x3DUpsample",
        "l2_upsample_wavelet": "InverseHaarWaveletTransform3D",
    },
    ignored={"dropout": 0.0},
)
_BLOCK = (("body.0", "norm1.norm"), ("body.1", "conv1"), ("body.2", "norm2.norm"), ("body.3", "conv2"))
_CONSTANT = "wavelet_transform"
_NAMES_BOTH = ("h", "g", "hh", "gh", "h_v", "g_v", "hh_v", "gh_v")
_NAMES_SPACE = ("aa", "ad", "da", "dd")


def _read(values: Mapping[str, Any], source: object) -> WFVAEConfig:
    """Scales that are not one per channel are those of another model, and left away as upstream leaves them unused."""
    channels = values.get("latent_dim", WFVAEConfig.latent_channels)
    unused = {key for key in ("scale", "shift") if len(values.get(key, ())) != channels}
    return _KEYS.read({key: value for key, value in values.items() if key not in unused}, source)


def _links(config: WFVAEConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules([*_encoder(config), *_decoder(config)], shapes)


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    return {}, {name: tensor for name, tensor in tensors.items() if _CONSTANT not in name}


def _pack(config: WFVAEConfig) -> dict[str, Tensor]:  # noqa: ARG001
    """The wavelets' constants, under the authors' names."""
    both = dict(zip(_NAMES_BOTH, bands(in_time=True).float().view(8, 1, 1, 2, 2, 2), strict=True))
    space = dict(zip(_NAMES_SPACE, bands(in_time=False).float().view(4, 1, 1, 2, 2), strict=True))
    constants = {
        **{f"encoder.{_CONSTANT}_{i}.{name}_conv.conv.weight": t for i in ("in", "l2") for name, t in both.items()},
        **{f"decoder.inverse_{_CONSTANT}_{i}.{name}": t for i in ("out", "l2") for name, t in both.items()},
        **{f"{side}{_CONSTANT}_l1.{name}": t for side in ("encoder.", "decoder.inverse_") for name, t in space.items()},
    }
    return {name: tensor.clone() for name, tensor in constants.items()}  # a file holds each apart


def _encoder(config: WFVAEConfig) -> Iterator[Module]:
    count = config.encoder_blocks
    first, second = "encoder.first.branches.0", "encoder.second.branches.0.1"
    yield Module(f"{first}.conv_in", "encoder.down1.0", 2)
    yield Module(f"{second}.conv_in", "encoder.down2.0", 2)
    for index in range(count):
        yield from _block(f"{first}.blocks.{index}", f"encoder.down1.{1 + index}", "", 2)
        yield from _block(f"{second}.blocks.{index}", f"encoder.down2.{1 + index}")
    yield Module(f"{first}.down", f"encoder.down1.{1 + count}.conv", 2)
    yield Module(f"{second}.down", f"encoder.down2.{1 + count}.conv.conv")
    yield Module("encoder.second.branches.0.0.branches.1.1", "encoder.connect_l1", 2)
    yield Module("encoder.join.branches.1.1", "encoder.connect_l2", 2)
    yield from _around(config, "encoder")
    yield Module("encoder.conv_out", "encoder.conv_out.conv")
    yield Module("encoder.norm_out", "encoder.norm_out.norm")


def _decoder(config: WFVAEConfig) -> Iterator[Module]:
    count = config.decoder_blocks
    first, second = "decoder.first.branches.0", "decoder.second.branches.0"
    yield Module("decoder.conv_in", "decoder.conv_in.conv")
    for ours, theirs in ((first, "decoder.up1"), (second, "decoder.up2")):
        for index in range(count):
            yield from _block(f"{ours}.blocks.{index}", f"{theirs}.{index}")
        yield from _block(f"{ours}.block", f"{theirs}.{count + 1}")
    yield Module(f"{first}.up.1", f"decoder.up1.{count}.conv", 2)
    yield Module(f"{second}.up.conv", f"decoder.up2.{count}.conv.conv")
    for index in range(2):
        yield from _block(f"{first}.last.{index}", f"decoder.layer.{index}")
    for ours, theirs in (("first.branches.1.0.body", "connect_l1"), ("second.branches.1.0", "connect_l2")):
        for index in range(config.flow_blocks):
            yield from _block(f"decoder.{ours}.blocks.{index}", f"decoder.{theirs}.{index}")
        yield Module(f"decoder.{ours}.conv", f"decoder.{theirs}.{config.flow_blocks}", 2)
    yield from _around(config, "decoder")
    yield Module(f"{first}.norm_out", "decoder.norm_out.norm")
    yield Module(f"{first}.conv_out", "decoder.conv_out", 2)


def _around(config: WFVAEConfig, side: str) -> Iterator[Module]:
    """The middle of a side."""
    last = 2 if config.middle_attention else 1
    yield from _block(f"{side}.middle.0", f"{side}.mid.0")
    yield from _block(f"{side}.middle.2", f"{side}.mid.{last}")
    ours, theirs = f"{side}.middle.1.body", f"{side}.mid.1"
    yield Module(f"{ours}.0", f"{theirs}.norm.norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.q.conv", f"{theirs}.k.conv", f"{theirs}.v.conv"))
    yield Module(f"{ours}.1.to_out", f"{theirs}.proj_out.conv")


def _block(ours: str, theirs: str, conv: str = ".conv", kernel_dims: int = 3) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}{'' if 'norm' in name else conv}", kernel_dims)
    yield Module(f"{ours}.shortcut", f"{theirs}.nin_shortcut{conv}", kernel_dims)


WF_VAE = Published(_KEYS.class_name, _read, _KEYS.write, _links, _unpack, _pack, namings=("diffusers",))
