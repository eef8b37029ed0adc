"""One table between two namings of the same weights: ours, and those of a foreign checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidlatent.errors import ModelError

Shape = tuple[int, ...]
_NAMED = 3
"""Keys that an error message names before it only counts them."""


@dataclass(frozen=True)
class Order:
    """Their channels along `axis` are numbered over `sizes`; ours are those dimensions transposed to `axes`."""

    axis: int
    sizes: Shape
    axes: Shape

    def ours(self, tensor: Tensor) -> Tensor:
        """Reorder their tensor to ours."""
        return tensor.index_select(self.axis, self._index())

    def theirs(self, tensor: Tensor) -> Tensor:
        """Reorder our tensor to theirs."""
        return tensor.index_select(self.axis, self._index().argsort())

    def _index(self) -> Tensor:
        return torch.arange(math.prod(self.sizes)).view(self.sizes).permute(self.axes).reshape(-1)


@dataclass(frozen=True)
class Link:
    """Where one tensor lives in both: its two names, its shape in their file, and how their channels are ordered.

    `part` is (index, count) where they keep ours in `count` equal parts along its first axis: queries, keys and values.
    """

    ours: str
    theirs: str
    their_shape: Shape
    order: Order | None = None
    part: tuple[int, int] = (0, 1)

    def read(self, theirs: Tensor, shape: Shape) -> Tensor:
        """Make our tensor, or the part of it that this link is, of ours' `shape` from theirs."""
        count = self.part[1]
        here = (shape[0] // count, *shape[1:]) if count > 1 else shape
        return (self.order.ours(theirs) if self.order else theirs).reshape(here)

    def write(self, ours: Tensor) -> Tensor:
        """Make their tensor from ours."""
        index, count = self.part
        tensor = ours.detach().cpu()
        tensor = (tensor.chunk(count)[index] if count > 1 else tensor).reshape(self.their_shape)
        return (self.order.theirs(tensor) if self.order else tensor).contiguous()


def same(shapes: Mapping[str, Shape]) -> list[Link]:
    """Links of a checkpoint that is named as our modules are."""
    return [Link(name, name, tuple(shape)) for name, shape in shapes.items()]


def read_tensors(
    links: Sequence[Link], tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape], source: object
) -> dict[str, Tensor]:
    """Rename `tensors` of the file `source` to ours, of `shapes`.

    Raises one `ModelError` that names the missing, the unexpected and the wrongly shaped keys.
    """
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = {link.theirs: link.their_shape for link in links}
    shaped = [
        f"{name} (found {found[name]}, expected {shape})"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    missing = [f"{name} {shape}" for name, shape in wanted.items() if name not in found]
    unexpected = [f"{name} {shape}" for name, shape in found.items() if name not in wanted]
    problems = [("missing", missing), ("unexpected", unexpected), ("of the wrong shape", shaped)]
    if any(names for _, names in problems):
        said = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in problems if names)
        raise ModelError(f"{source}: the weights do not fit this model ({len(wanted)} tensors expected). {said}")
    parts: dict[str, list[Tensor]] = {}
    for link in sorted(links, key=lambda link: link.part):
        parts.setdefault(link.ours, []).append(link.read(tensors[link.theirs], tuple(shapes[link.ours])))
    return {name: torch.cat(pieces) if len(pieces) > 1 else pieces[0] for name, pieces in parts.items()}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
