"""MiniMax-H3's autoencoder as diffusers stores it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.config_keys import ConfigKeys
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.minimax_h3.config import MiniMaxH3Config
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published

_KEYS = ConfigKeys(
    "AutoencoderKLMiniMaxH3",
    MiniMaxH3Config,
    names={
        "latent_channels": "latent_channels",
        "block_out_channels": "widths",
        "layers_per_block": "num_res_blocks",
        "spatial_downsample_factors": "space_steps",
        "temporal_downsample_factors": "time_steps",
        "norm_num_groups": "groups",
        "decoder_num_layers": "decoder_blocks",
        "decoder_num_attention_heads": "heads",
        "decoder_attention_head_dim": "head_dim",
        "decoder_num_register_tokens": "registers",
        "decoder_ffn_mult": "expansion",
        "decoder_rope_theta": "theta",
        "decoder_rope_dim_ratio": "rotated",
        "clip_length": "clip",
        "token_drop": "dropped",
        "latents_mean": "mean",
        "latents_std": "std",
    },
    fixed={
        "in_channels": 3,
        "out_channels": 3,
        "norm_eps": 1e-6,
        "decoder_norm_eps": 1e-5,
        "spatial_padding_mode": "reflect",
    },
)
_BLOCK = (
    ("body.0", "norm1"),
    ("body.2", "conv1"),
    ("body.3", "norm2"),
    ("body.5", "conv2"),
    ("shortcut", "conv_shortcut"),
)
_LAYER = (
    ("norm1", "norm1"),
    ("to_qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
    ("to_out", "attn.to_out.0"),
    ("norm2", "norm2"),
    ("widen", "ff.net.0.proj"),
    ("narrow", "ff.net.2"),
)
_AROUND = ("conv_in", "norm_out", "conv_out")


def _links(config: MiniMaxH3Config, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    bare = [*_bare(config)]
    inside = {ours for ours, _ in bare}
    modules = link_modules(_modules(config), {name: s for name, s in shapes.items() if name not in inside})
    return [*modules, *(Link(ours, theirs, tuple(shapes[ours])) for ours, theirs in bare)]


def _bare(config: MiniMaxH3Config) -> Iterator[tuple[str, str]]:
    """Parameters that no layer holds."""
    yield "decoder.tiled.body.registers", "decoder.register_tokens"
    for index in range(config.decoder_blocks):
        for name in ("scale1", "scale2"):
            yield f"decoder.tiled.body.blocks.{index}.{name}", f"decoder.transformer_blocks.{index}.{name}"


def _modules(config: MiniMaxH3Config) -> Iterator[Module]:
    body = "encoder.tiled.body"
    yield Module(f"{body}.quant_conv", "quant_conv")
    yield Module("decoder.post_quant_conv", "post_quant_conv")
    for name in _AROUND:
        yield Module(f"{body}.{name}", f"encoder.{name}")
    for level in range(len(config.widths)):
        for index in range(config.num_res_blocks):
            for place, name in _BLOCK:
                yield Module(
                    f"{body}.levels.{level}.{index}.{place}", f"encoder.down_blocks.{level}.resnets.{index}.{name}"
                )
        step = f"{body}.levels.{level}.{config.num_res_blocks}"
        yield Module(step, f"encoder.down_blocks.{level}.downsamplers.0.conv")
    body = "decoder.tiled.body"
    for name in ("proj_in", "norm_out", "proj_out"):
        yield Module(f"{body}.{name}", f"decoder.{name}", 0)
    for index in range(config.decoder_blocks):
        ours, theirs = f"{body}.blocks.{index}", f"decoder.transformer_blocks.{index}"
        for place, names in _LAYER:
            parts = (names,) if isinstance(names, str) else names
            yield Module(f"{ours}.{place}", tuple(f"{theirs}.{name}" for name in parts), 0)


MINIMAX_H3 = Published(_KEYS.class_name, _KEYS.read, _KEYS.write, _links, namings=("diffusers",))
