"""DC-AE-V as its authors store it (github.com/dc-ai-projects/DC-Gen, dc_videogen/dc_ae_v.py): weights alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.dc_ae_v.model import DCAEVConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published, no_folder

_BLOCK = (("body.conv1.1", "conv1.conv"), ("body.conv2.1", "conv2.conv"), ("body.norm", "conv2.norm"))
_ENDS = (
    ("encoder.conv_in.conv.1", "encoder.project_in.conv.conv"),
    ("encoder.conv_out.1", "encoder.project_out.conv"),
    ("decoder.conv_in.1", "decoder.project_in.conv"),
    ("decoder.norm_out", "decoder.project_out.op_list.0"),
    ("decoder.conv_out.conv.1", "decoder.project_out.op_list.2.conv.conv"),
)
_REFUSE = no_folder("DC-AE-V")


def _links(config: DCAEVConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    ends = [Module(ours, theirs) for ours, theirs in _ENDS]
    return link_modules([*ends, *_side(config, "encoder"), *_side(config, "decoder")], shapes)


def _side(config: DCAEVConfig, side: str) -> Iterator[Module]:
    is_encoder, last = side == "encoder", len(config.depths) - 1
    for level, depth in enumerate(config.depths):
        ours = f"{side}.levels.{level if is_encoder else last - level}"
        theirs = f"{side}.stages.{level + 1}.op_list"  # their first level is empty
        first = 0 if is_encoder or level == last else 1  # the decoder's step comes first
        for index in range(first, first + depth):
            for place, name in _BLOCK:
                yield Module(f"{ours}.{index}.{place}", f"{theirs}.{index}.main.{name}")
        step = depth if is_encoder else 0
        yield Module(f"{ours}.{step}.body.conv.1", f"{theirs}.{step}.main.conv.conv")


DC_AE_V = Published("", _REFUSE, _REFUSE, _links, namings=("original",))
