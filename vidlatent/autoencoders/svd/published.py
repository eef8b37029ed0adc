"""Stable Video Diffusion's autoencoder as diffusers stores it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.image_kl.weights import attention_modules, encoder_modules
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published
from vidlatent.autoencoders.svd.config import SVDConfig

_KEYS = ConfigKeys(
    "AutoencoderKLTemporalDecoder",
    SVDConfig,
    names={"block_out_channels": "widths", "latent_channels": "latent_channels", "scaling_factor": "scaling_factor"},
    fixed={"in_channels": 3, "out_channels": 3, "layers_per_block": 2},
    per_level={"down_block_types": "DownEncoderBlock2D"},
    ignored={"sample_size": 768, "force_upcast": True},
    absent={"block_out_channels": [64], "layers_per_block": 1},
)
_CONVS = (("0", "norm1"), ("2", "conv1"), ("3", "norm2"), ("5", "conv2"))


def _links(config: SVDConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    """Every tensor of ours under diffusers' name; its authors publish it as a part of larger checkpoints only."""
    return link_modules([*encoder_modules(config.frames, "diffusers"), *_decoder(config)], shapes)


def _decoder(config: SVDConfig) -> Iterator[Module]:
    yield Module("decoder.conv_in", "decoder.conv_in", 2)
    yield Module("decoder.norm_out", "decoder.conv_norm_out")
    yield Module("decoder.conv_out", "decoder.conv_out", 2)
    yield Module("decoder.time_conv_out", "decoder.time_conv_out")
    for index, ours in enumerate((0, 2)):
        yield from _block(f"decoder.middle.{ours}", f"decoder.mid_block.resnets.{index}")
    yield from attention_modules("decoder", "diffusers")
    count = config.frames.num_res_blocks + 1
    for level in range(len(config.widths)):
        for index in range(count):
            yield from _block(f"decoder.levels.{level}.{index}", f"decoder.up_blocks.{level}.resnets.{index}")
        yield Module(f"decoder.levels.{level}.{count}.1", f"decoder.up_blocks.{level}.upsamplers.0.conv", 2)


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, name in _CONVS:
        yield Module(f"{ours}.0.body.{place}", f"{theirs}.spatial_res_block.{name}", 2)
        yield Module(f"{ours}.1.body.{place}", f"{theirs}.temporal_res_block.{name}")
    yield Module(f"{ours}.0.shortcut", f"{theirs}.spatial_res_block.conv_shortcut", 2)
    yield Module(f"{ours}.1.body.6", f"{theirs}.time_mixer")


SVD_PUBLISHED = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, namings=("diffusers",))
