"""VidTok as diffusers stores it, and as its authors do: the same names of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.vidtok.config import VidTokConfig
from vidlatent.errors import ModelError

_KEYS = ConfigKeys(
    "AutoencoderVidTok",
    VidTokConfig,
    names={
        "ch": "base",
        "ch_mult": "multipliers",
        "z_channels": "latent_channels",
        "num_res_blocks": "num_res_blocks",
        "spatial_ds": "space_down",
        "spatial_us": "space_up",
        "tempo_ds": "time_down",
        "tempo_us": "time_up",
    },
    fixed={"in_channels": 3, "out_channels": 3, "dropout": 0.0},
    ignored={"is_causal": True, "regularizer": "kl", "double_z": True, "codebook_size": 262144},
)
_BLOCK = (
    ("body.0", "norm1.norm"),
    ("body.1", "conv1"),
    ("body.2", "norm2.norm"),
    ("body.3", "conv2"),
    ("shortcut", "nin_shortcut"),
)
_AROUND = ("conv_in", "conv_out")


def _read(values: Mapping[str, Any], source: object) -> VidTokConfig:
    config = _KEYS.read(values, source)
    kind = replace(
        config,
        time="causal" if values.get("is_causal", True) else "centred",
        discrete=values.get("regularizer", "kl") == "fsq",
    )
    for key, expected in _kind(kind).items():
        if values.get(key, expected) != expected:
            raise ModelError(f"{source}: {key} is {values[key]!r}, only {expected!r} is supported with the other keys")
    return kind


def _write(config: VidTokConfig) -> dict[str, Any]:
    if config.time == "causal-1.0":
        raise ModelError("AutoencoderVidTok has version 1.1 only: save time='causal-1.0' as a checkpoint of our own")
    return {**_KEYS.write(replace(config, time="causal", discrete=False)), **_kind(config)}


def _kind(config: VidTokConfig) -> dict[str, Any]:
    """The keys that say whether the model is causal, and whether discrete."""
    kind = {"is_causal": config.time != "centred", "double_z": not config.discrete}
    if not config.discrete:
        return {**kind, "regularizer": "kl"}
    return {**kind, "regularizer": "fsq", "codebook_size": 8**config.latent_channels}


def _links(config: VidTokConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return [_along_time(link) for link in link_modules(_modules(config), shapes)]


def _along_time(link: Link) -> Link:
    """Kernels of blocks along time are kept with that axis alone."""
    is_kernel = ".time.body." in link.ours and len(link.their_shape) == 5
    return replace(link, their_shape=link.their_shape[:3]) if is_kernel else link


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The authors keep losses and a discriminator beside the autoencoder."""
    return {}, {name: tensor for name, tensor in tensors.items() if not name.startswith("loss.")}


def _modules(config: VidTokConfig) -> Iterator[Module]:
    conv = "" if config.time == "centred" else ".conv"
    for side, way, steps in (("encoder", "down", config.down_steps), ("decoder", "up", config.up_steps)):
        for name in _AROUND:
            yield Module(f"{side}.{name}", f"{side}.{name}{conv}")
        yield Module(f"{side}.norm_out", f"{side}.norm_out.norm")
        for index, place in ((1, 0), (2, 2)):
            yield from _block(f"{side}.middle.{place}", f"{side}.mid.block_{index}", conv)
        yield from _attention(f"{side}.middle.1.body", f"{side}.mid.attn_1", conv)
        for level in range(len(steps)):
            number = level if side == "encoder" else len(steps) - 1 - level
            ours, frame, time = f"{side}.levels.{level}", f"{side}.{way}.{number}", f"{side}.{way}_temporal.{number}"
            for index in range(config.num_res_blocks + (side == "decoder")):
                yield from _block(f"{ours}.blocks.{index}.frame", f"{frame}.block.{index}", "", 2)
                yield from _block(f"{ours}.blocks.{index}.time", f"{time}.block.{index}", conv)
            yield Module(f"{ours}.space" + (".1" if side == "decoder" else ""), f"{frame}.{way}sample.conv", 2)
            mix = f"{ours}.time" + (".mix" if side == "decoder" else "")
            yield Module(mix, f"{time}.{way}sample")
            yield Module(f"{mix}.second", f"{time}.{way}sample.conv{conv}")


def _block(ours: str, theirs: str, conv: str, kernel_dims: int = 3) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}{'' if 'norm' in name else conv}", kernel_dims)


def _attention(ours: str, theirs: str, conv: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.norm.norm")
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.q{conv}", f"{theirs}.k{conv}", f"{theirs}.v{conv}"))
    yield Module(f"{ours}.1.to_out", f"{theirs}.proj_out{conv}")


VIDTOK = Published(_KEYS.class_name, _read, _write, _links, _unpack, namings=("diffusers",))
