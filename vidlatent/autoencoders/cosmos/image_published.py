"""Cosmos' image tokenizers as NVIDIA stores them; see `published` for the names and the kinds of file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vidlatent.autoencoders.cosmos.image import CosmosImageConfig
from vidlatent.autoencoders.cosmos.published import unpack
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.module_links import Module, link_modules
from vidlatent.autoencoders.published import Naming, Published, no_folder

_BLOCK = (
    ("body.0", "norm1"),
    ("body.2", "conv1"),
    ("body.3", "norm2"),
    ("body.5", "conv2"),
    ("shortcut", "nin_shortcut"),
)
_AROUND = ("conv_in", "norm_out", "conv_out")
_REFUSE = no_folder("image tokenizer of Cosmos")


def _links(config: CosmosImageConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return link_modules([*_side(config, "encoder"), *_side(config, "decoder")], shapes)


def _side(config: CosmosImageConfig, side: str) -> Iterator[Module]:
    for name in ("quant_conv", "post_quant_conv"):
        yield Module(f"{side}.{name}", name, 2)
    for name in _AROUND:
        yield Module(f"{side}.{name}", f"{side}.{name}", 2)
    for place, name in ((0, "block_1"), (2, "block_2")):
        yield from _block(f"{side}.middle.{place}", f"{side}.mid.{name}")
    yield from _attention(f"{side}.middle.1.body", f"{side}.mid.attn_1")
    last = len(config.widths) - 2
    for level in range(last + 1):
        ours, theirs, step, count = f"{side}.levels.{level}", f"{side}.down.{level}", "", config.num_res_blocks
        if side == "decoder":
            theirs, step, count = f"{side}.up.{last - level}", ".1", count + 1
        for index in range(count):
            yield from _block(f"{ours}.{index}", f"{theirs}.block.{index}")
        yield Module(f"{ours}.{count}{step}", f"{theirs}.{'up' if step else 'down'}sample.conv", 2)


def _block(ours: str, theirs: str) -> Iterator[Module]:
    for place, name in _BLOCK:
        yield Module(f"{ours}.{place}", f"{theirs}.{name}", 2)


def _attention(ours: str, theirs: str) -> Iterator[Module]:
    yield Module(f"{ours}.0", f"{theirs}.norm", 2)
    yield Module(f"{ours}.1.to_qkv", (f"{theirs}.q", f"{theirs}.k", f"{theirs}.v"), 2)
    yield Module(f"{ours}.1.to_out", f"{theirs}.proj_out", 2)


COSMOS_IMAGE = Published("", _REFUSE, _REFUSE, _links, unpack, namings=("original",))
