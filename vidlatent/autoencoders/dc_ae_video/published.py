"""Open-Sora 2's video DC-AE as its authors store it (github.com/hpcaitech/Open-Sora): weights alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.dc_ae_video.model import VideoDCAEConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published, no_folder

_ATTENTION = (
    ("0.body.qkv", "context_module.main.qkv.conv"),
    ("0.body.scales.branches.1.0", "context_module.main.aggreg.0.0"),
    ("0.body.scales.branches.1.1", "context_module.main.aggreg.0.1"),
    ("0.body.to_out", "context_module.main.proj.conv"),
    ("0.body.norm_out", "context_module.main.proj.norm"),
    ("1.body.conv_inverted", "local_module.main.inverted_conv.conv"),
    ("1.body.conv_depth", "local_module.main.depth_conv.conv"),
    ("1.body.conv_point", "local_module.main.point_conv.conv"),
    ("1.body.norm", "local_module.main.point_conv.norm"),
)
_BLOCK = (("body.conv1", "main.conv1.conv"), ("body.conv2", "main.conv2.conv"), ("body.norm", "main.conv2.norm"))


def _links(config: VideoDCAEConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules([*_ends(), *_side(config, "encoder"), *_side(config, "decoder")], shapes)


def _ends() -> Iterator[Module]:
    yield Module("encoder.conv_in", "encoder.project_in.conv")
    yield Module("encoder.conv_out.body", "encoder.project_out.main.op_list.0.conv")
    yield Module("decoder.conv_in.body", "decoder.project_in.main.conv")
    yield Module("decoder.norm_out", "decoder.project_out.op_list.0")
    yield Module("decoder.conv_out", "decoder.project_out.op_list.2.conv")


def _side(config: VideoDCAEConfig, side: str) -> Iterator[Module]:
    is_encoder, last = side == "encoder", len(config.widths) - 1
    depths = config.encoder_depths if is_encoder else config.decoder_depths
    for level, depth in enumerate(depths):
        ours = f"{side}.levels.{level if is_encoder else last - level}"
        theirs = f"{side}.stages.{level}.op_list"
        rows = _BLOCK if level < config.first_attention else _ATTENTION
        first = 0 if is_encoder or level == last else 1  # the decoder's step comes first
        for index in range(first, first + depth):
            for place, name in rows:
                yield Module(f"{ours}.{index}.{place}", f"{theirs}.{index}.{name}")
        if is_encoder:
            yield Module(f"{ours}.{depth}.body", f"{theirs}.{depth}.main.conv")
        else:
            yield Module(f"{ours}.0.body.conv", f"{theirs}.0.main.conv.conv")


VIDEO_DC_AE = Published("", no_folder("video DC-AE"), no_folder("video DC-AE"), _links, namings=("original",))
