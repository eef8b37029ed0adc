"""What all streaming measures share: sums that add up in any order, so that workers can each measure a part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidlatent.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

_Pair = tuple[Tensor, Tensor]


class Accumulator(ABC):
    """`update` with pieces, `merge` others of its kind, `compute` at any time: the result of all pieces at once.

    The whole state is `sums`, numbers and tensors that are added; `settings` must agree for two to merge. It holds no
    video and can be pickled.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.sums: dict[str, Any] = {}

    def merge(self, other: Self) -> Self:
        """Take in what another one measured, in any order. Raises `InputError` where it measures something else."""
        if type(other) is not type(self) or other.settings != self.settings:
            raise InputError(f"only measures of one kind merge: {self!r} and {other!r} differ")
        for name, value in other.sums.items():
            self._add(name, value)
        return self

    @abstractmethod
    def compute(self) -> Any:
        """The result of everything so far. Raises `InputError` if that is nothing."""

    def _add(self, name: str, value: Any) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _mean(self, total: str, count: str) -> float:
        if not self.sums.get(count):
            raise InputError(f"{type(self).__name__}: nothing was measured yet: update() with at least one frame first")
        return float(self.sums[total]) / float(self.sums[count])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings.items())})"


class FramePairs(Accumulator):
    """A measure of consecutive frames; slabs of a clip may come in any order and to different workers.

    Each run of frames leaves its first and last one behind until its neighbours have come, so that the pair across
    every cut is measured once: memory is two frames a gap.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._firsts: dict[tuple[Hashable, int], _Pair] = {}
        self._lasts: dict[tuple[Hashable, int], _Pair] = {}
        self._next: dict[Hashable, int] = {}

    def update(self, got: Tensor, want: Tensor, *, clip: Hashable = 0, start: int | None = None) -> None:
        """Take in frames (B, C, T, H, W) in [-1, 1] of `clip` from number `start` on; None goes on where it stopped."""
        check_clips(got, want)
        first = self._next.get(clip, 0) if start is None else start
        frames = list(zip(got.unbind(2), want.unbind(2), strict=True))
        if not frames:
            return
        for index in range(len(frames) - 1):
            self._measure(frames[index], frames[index + 1], first + index + 1)
        stop = first + len(frames)
        self._firsts[clip, first] = tuple(f.clone() for f in frames[0])  # type: ignore[assignment]
        self._lasts[clip, stop] = tuple(f.clone() for f in frames[-1])  # type: ignore[assignment]
        self._next[clip] = stop
        self._join()

    def merge(self, other: Self) -> Self:
        """Take in what another one measured, of these clips or others, in any order."""
        super().merge(other)
        self._firsts |= other._firsts
        self._lasts |= other._lasts
        self._next |= {clip: max(stop, self._next.get(clip, 0)) for clip, stop in other._next.items()}
        self._join()
        return self

    def _join(self) -> None:
        for key in self._firsts.keys() & self._lasts.keys():
            self._measure(self._lasts.pop(key), self._firsts.pop(key), key[1])

    @abstractmethod
    def _measure(self, before: _Pair, after: _Pair, index: int) -> None:
        """Add what two consecutive frames (B, C, H, W), got and wanted, say; `index` is the second one's number."""


def check_clips(got: Tensor, want: Tensor) -> None:
    """Raise `InputError` unless both are clips (B, C, T, H, W) of one shape with finite values."""
    if got.shape != want.shape or got.ndim != 5:
        raise InputError(f"expected clips (B, C, T, H, W) of one shape, got {tuple(got.shape)}, {tuple(want.shape)}")
    if not torch.isfinite(got).all():
        raise InputError("the reconstruction holds NaN or infinity: it has no quality to measure")
