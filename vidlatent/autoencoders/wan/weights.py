"""Names of Wan's weights: ours, diffusers', and those of the authors' own checkpoints (`Wan2.1_VAE.pth`).

The tables list modules as (ours, diffusers, authors, kind); `links` walks a configuration with them. The authors'
names are those of github.com/Wan-Video: wan/modules/vae2_1.py and vae2_2.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from vidlatent.autoencoders.links import Link, Order, Shape
from vidlatent.autoencoders.published import Naming
from vidlatent.autoencoders.wan.config import WanConfig

Side = Literal["encoder", "decoder"]

_BETWEEN = (
    ("encoder.quant_conv", "quant_conv", "conv1", "conv"),
    ("decoder.post_quant_conv", "post_quant_conv", "conv2", "conv"),
)
_ENDS = (
    ("conv_in", "conv_in", "conv1", "conv"),
    ("norm_out", "norm_out", "head.0", "norm"),
    ("conv_out", "conv_out", "head.2", "conv"),
)
_BLOCK = (
    ("body.0", "norm1", "residual.0", "norm"),
    ("body.1", "conv1", "residual.2", "conv"),
    ("body.2", "norm2", "residual.3", "norm"),
    ("body.3", "conv2", "residual.6", "conv"),
    ("shortcut", "conv_shortcut", "shortcut", "conv"),
)
_ATTENTION = (
    ("body.0", "norm", "norm", "frame_norm"),
    ("body.1.to_qkv", "to_qkv", "to_qkv", "linear"),
    ("body.1.to_out", "proj", "proj", "linear"),
)
_MIDDLE = (
    ("middle.0", "mid_block.resnets.0", "middle.0", _BLOCK),
    ("middle.1", "mid_block.attentions.0", "middle.1", _ATTENTION),
    ("middle.2", "mid_block.resnets.1", "middle.2", _BLOCK),
)
_STEP = (
    ("space", "resample.1", "resample.1", "frame_conv"),
    ("time.body", "time_conv", "time_conv", "conv"),
    ("time.body.1", "time_conv", "time_conv", "paired_conv"),
)

Row = tuple[str, str, str, str]
Module = tuple[str, str, str]
"""Our name, their name, kind."""


def links(config: WanConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:
    """Every tensor of ours, by the `shapes` of our state, and where it lives in a checkpoint of `naming`."""
    found = [link for module in _modules(config, naming) for link in _tensors(module, shapes, config)]
    assert len(found) == len(shapes), set(shapes) - {link.ours for link in found}
    return found


def _modules(config: WanConfig, naming: Naming) -> Iterator[Module]:
    """Every module that this architecture can have; some have no weights in a given configuration."""
    yield from _rows(_BETWEEN, "", "", naming)
    sides: tuple[Side, Side] = ("encoder", "decoder")
    for side in sides:
        yield from _rows(_ENDS, f"{side}.", f"{side}.", naming)
        for ours, diffusers, original, rows in _MIDDLE:
            theirs = diffusers if naming == "diffusers" else original
            yield from _rows(rows, f"{side}.{ours}.", f"{side}.{theirs}.", naming)
        count = config.num_res_blocks + (side == "decoder")
        for level in range(len(config.multipliers)):
            has_shortcut = config.residual_levels and (side == "encoder" or level < len(config.temporal_downsample))
            ours = f"{side}.levels.{level}." + ("body." if has_shortcut else "")
            for index in range(count + 1):
                theirs = f"{side}.{_place(config, naming, side, level, index, is_step=index == count)}"
                yield from _rows(_STEP if index == count else _BLOCK, f"{ours}{index}.", f"{theirs}.", naming)


def _place(config: WanConfig, naming: Naming, side: Side, level: int, index: int, *, is_step: bool) -> str:
    """Their name of our `levels.{level}.{index}`: Wan 2.1 numbers a whole side in one run, Wan 2.2 level by level."""
    is_nested, flat = config.residual_levels, level * (config.num_res_blocks + 1 + (side == "decoder")) + index
    if naming == "original":
        list_name = "downsamples" if side == "encoder" else "upsamples"
        return f"{list_name}.{level}.{list_name}.{index}" if is_nested else f"{list_name}.{flat}"
    if side == "encoder":
        if not is_nested:
            return f"down_blocks.{flat}"
        return f"down_blocks.{level}." + ("downsampler" if is_step else f"resnets.{index}")
    step = "upsampler" if is_nested else "upsamplers.0"
    return f"up_blocks.{level}." + (step if is_step else f"resnets.{index}")


def _rows(rows: tuple[Row, ...], ours: str, theirs: str, naming: Naming) -> Iterator[Module]:
    for ours_end, diffusers, original, kind in rows:
        yield f"{ours}{ours_end}", f"{theirs}{diffusers if naming == 'diffusers' else original}", kind


def _tensors(module: Module, shapes: Mapping[str, Shape], config: WanConfig) -> Iterator[Link]:
    ours, theirs, kind = module
    for name in ("weight", "bias"):
        if f"{ours}.{name}" in shapes:
            shape = tuple(shapes[f"{ours}.{name}"])
            their_name = "gamma" if kind in ("norm", "frame_norm") else name
            order = _order(ours, name, kind, shape, config)
            yield Link(f"{ours}.{name}", f"{theirs}.{their_name}", _their_shape(kind, name, shape), order)


def _their_shape(kind: str, name: str, shape: Shape) -> Shape:
    """They keep norms as broadcast columns, and convolutions of a frame without a time axis."""
    if kind == "norm":
        return (*shape, 1, 1, 1)
    if kind == "frame_norm":
        return (*shape, 1, 1)
    if name == "weight" and kind == "linear":
        return (*shape, 1, 1)
    if name == "weight" and kind == "frame_conv":
        return (*shape[:2], *shape[3:])
    return shape


def _order(ours: str, name: str, kind: str, shape: Shape, config: WanConfig) -> Order | None:
    """They put the two frames of a pair before the channels, and the columns of a patch before its rows."""
    patch = config.patch_size
    if kind == "paired_conv":
        return Order(0, (2, shape[0] // 2), (1, 0))
    if patch > 1 and ours == "encoder.conv_in" and name == "weight":
        return Order(1, (3, patch, patch), (0, 2, 1))
    if patch > 1 and ours == "decoder.conv_out":
        return Order(0, (3, patch, patch), (0, 2, 1))
    return None
