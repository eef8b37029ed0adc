"""TAEHV's checkpoints (`taew2_1.pth`, `taew2_1.safetensors`): the names of its weights. diffusers does not have it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vidlatent.autoencoders.links import Link, Order, Shape
from vidlatent.autoencoders.published import Naming, Published, no_folder
from vidlatent.autoencoders.renaming import Rule, rename
from vidlatent.autoencoders.taehv.model import TAEHVConfig

_RULES: tuple[Rule, ...] = (
    (r"\.layers\.", "."),
    (r"\.0\.body\.", ".conv."),
    (r"\.body\.1\.", ".conv."),
    (r"\.conv\.0\.1\.", ".conv.0."),
    (r"^(\w+\.\d+)\.0\.weight$", r"\1.conv.weight"),
)


class _PastFirst(Order):
    """They put the channels of the frame at hand before those of the frame before it; ours are in order of time."""

    def _index(self) -> Tensor:
        return torch.arange(2 * self.sizes[1]).view(self.sizes).flip(0).T.reshape(-1)


def links(config: TAEHVConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    """Every tensor of ours in a checkpoint of the authors."""
    return [_link(name, tuple(shape)) for name, shape in shapes.items()]


def _link(ours: str, shape: Shape) -> Link:
    theirs = rename(ours, _RULES)
    if len(shape) == 1:
        return Link(ours, theirs, shape)
    dim_out, dim_in, frames, *space = shape
    order: Order | None = None
    if frames > 1:  # frames are channels there
        order = _PastFirst(1, (2, dim_in), (1, 0)) if ".body." in ours else Order(1, (frames, dim_in), (1, 0))
    elif dim_out > dim_in and theirs.endswith(".conv.weight"):  # time grows
        order = Order(0, (dim_out // dim_in, dim_in), (1, 0))
    return Link(ours, theirs, (dim_out, dim_in * frames, *space), order)


TAEHV_PUBLISHED = Published("", no_folder("TAEHV"), no_folder("TAEHV"), links, namings=("original",))
