"""Where a sweep's outer state lies between two slabs: on the device, or away from it (`shelves`).

A sweep asks for its states in the order in which it put them down, so what it will ask for next is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Keep = Literal["device", "host", "file"]
_NEAR = 3
"""How many numbers further the next state may be: what was put down between may be gone already."""


def concat(slabs: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenate, copying only if two slabs hold something; empty slabs may disagree about the other axes."""
    filled = [slab for slab in slabs if slab.shape[axis]]
    return torch.cat(filled, axis) if len(filled) > 1 else (filled or slabs)[-1]


def room(shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """An empty tensor in the layout that `stride` tells of: channels last or contiguous."""
    innermost = len(shape) == 5 and stride[1] == 1
    layout = torch.channels_last_3d if innermost else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device=device, memory_format=layout)


class Shelf:
    """On the device: nothing moves."""

    absent_bytes = beside_bytes = put_bytes = 0

    def put(self, x: Tensor) -> Tensor | Kept:
        """Lay down a copy of `x`, which may be a view of something larger."""
        return x.clone()

    def own(self, x: Tensor) -> Tensor | Kept:
        """Lay down `x` itself, which nobody else changes."""
        return x

    def get(self, kept: Tensor | Kept) -> Tensor:
        """Take it up again; it is on the shelf no more."""
        assert isinstance(kept, Tensor)
        return kept

    def join(self, kept: Tensor | Kept, x: Tensor, axis: int) -> Tensor:
        """Take it up with `x` behind it."""
        return concat([self.get(kept), x], axis)

    def drop(self, kept: Tensor | Kept) -> None:
        """Forget it."""

    def copy(self, kept: Tensor | Kept) -> Tensor:
        """A look at it, for saving."""
        assert isinstance(kept, Tensor)
        return kept


DEVICE = Shelf()


@dataclass
class Kept:
    """A dense tensor that lies elsewhere."""

    number: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    place: Any = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes where it lies."""
        return self.shape.numel() * self.dtype.itemsize

    def empty(self, device: torch.device | str) -> Tensor:
        """Room for it."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)


class Away(Shelf):
    """Any other place: subclasses store, fetch (maybe later) and wait for what is fetched; places are used again.

    `absent_bytes` are what lies there and was not sent for, `put_bytes` all that was ever put there, `beside_bytes`
    what moving the largest tensor takes.
    """

    def __init__(self) -> None:
        self.absent_bytes = self.beside_bytes = self.put_bytes = 0
        self._count = 0
        self._kept: dict[int, Kept] = {}
        self._ahead: dict[int, Any] = {}
        self._free: dict[int, list[Any]] = {}

    def put(self, x: Tensor) -> Tensor | Kept:
        if not x.numel():
            return x.clone()
        place = None if x.is_meta else self._store(x)  # counting memory stores nothing
        kept = Kept(self._count, x.shape, dense_strides(x), x.dtype, x.device, place)
        self.absent_bytes += kept.nbytes
        self.put_bytes += kept.nbytes
        self.beside_bytes = max(self.beside_bytes, self._takes(x))
        self._count += 1
        self._kept[kept.number] = kept
        return kept

    def own(self, x: Tensor) -> Tensor | Kept:
        return self.put(x)

    def get(self, kept: Tensor | Kept) -> Tensor:
        if isinstance(kept, Tensor):  # never put down here
            return kept
        if kept.number not in self._ahead:
            self._send_for(kept)
        x = self._wait(self._ahead.pop(kept.number), kept)
        self._taken(kept)
        return x

    def copy(self, kept: Tensor | Kept) -> Tensor:
        return kept if isinstance(kept, Tensor) else self._wait(self._begin(kept), kept)

    def drop(self, kept: Tensor | Kept) -> None:
        if not isinstance(kept, Tensor):
            if self._ahead.pop(kept.number, None) is None:
                self.absent_bytes -= kept.nbytes
            self._forget(kept)

    def _taken(self, kept: Kept) -> None:
        """Forget it and look ahead."""
        self._forget(kept)
        following = (n for n in range(kept.number + 1, kept.number + 1 + _NEAR) if n in self._kept)
        self._look_ahead(next(following, None))

    def _forget(self, kept: Kept) -> None:
        del self._kept[kept.number]
        if kept.place is not None:
            self._free.setdefault(kept.nbytes, []).append(kept.place)

    def _look_ahead(self, number: int | None) -> None:
        """Send for what is asked for next, maybe; what was sent for and not asked for would only lie in the way."""
        for other in [n for n in self._ahead if n != number]:
            del self._ahead[other]
            self.absent_bytes += self._kept[other].nbytes
        if number is not None and number not in self._ahead:
            self._send_for(self._kept[number])

    def _send_for(self, kept: Kept) -> None:
        self._ahead[kept.number] = self._begin(kept)
        self.absent_bytes -= kept.nbytes

    def _begin(self, kept: Kept) -> Any:
        return kept.empty("meta") if kept.place is None else self._fetch(kept)

    def _wait(self, fetched: Any, kept: Kept) -> Tensor:
        return fetched if kept.place is None else self._arrived(fetched)

    def _spare(self, nbytes: int) -> Any:
        """A place of that size that is free again, or None."""
        places = self._free.get(nbytes)
        return places.pop() if places else None

    def _takes(self, x: Tensor) -> int:
        """Bytes on the device that it takes to move `x`."""
        raise NotImplementedError

    def _store(self, x: Tensor) -> Any:
        raise NotImplementedError

    def _fetch(self, kept: Kept) -> Any:
        raise NotImplementedError

    def _arrived(self, fetched: Any) -> Tensor:
        raise NotImplementedError


def is_dense(x: Tensor) -> bool:
    """Whether a tensor fills its place without gaps, its axes in any order."""
    step = 1
    for stride, size in sorted((x.stride(a), x.shape[a]) for a in range(x.ndim) if x.shape[a] > 1):
        if stride != step:
            return False
        step *= size
    return True


def dense_strides(x: Tensor) -> tuple[int, ...]:
    """Strides of a tensor without gaps whose axes come in the order of those of `x`."""
    if x.is_contiguous() or (x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)):
        return x.stride()
    strides, step = [0] * x.ndim, 1
    for axis in sorted(range(x.ndim), key=lambda a: (x.stride(a), x.shape[a], -a)):
        strides[axis] = step
        step *= max(1, x.shape[axis])
    return tuple(strides)
