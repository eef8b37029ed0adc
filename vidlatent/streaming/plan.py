"""How a clip is cut: decided once, printable, and never part of the answer."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.streaming.window import H, T

_NAMES = {T: "frames", H: "rows"}


@dataclass(frozen=True)
class Plan:
    """Which axes are swept, outer first, and how thick a slab is on each.

    `chunk` counts frames and `strip` counts rows of what is pushed: pixels when encoding, latents when decoding.
    No axes means the whole clip at once.
    """

    axes: tuple[int, ...] = ()
    chunk: int = 0
    strip: int = 0

    def __post_init__(self) -> None:
        for axis in self.axes:
            if axis not in _NAMES or self.thickness(axis) < 1:
                raise ValueError(f"each swept axis (2: T, 3: H) needs a chunk or strip of at least 1, got {self!r}")

    def thickness(self, axis: int) -> int:
        """Items per slab along `axis`."""
        return self.chunk if axis == T else self.strip

    def __str__(self) -> str:
        if not self.axes:
            return "whole clip"
        return ", inside them ".join(f"slabs of {self.thickness(axis)} {_NAMES[axis]}" for axis in self.axes)
