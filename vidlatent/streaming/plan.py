"""How a clip is cut: decided once, printable, and never part of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vidlatent.streaming.shelf import Keep
from vidlatent.streaming.window import H, T

_NAMES = {T: "frame", H: "row"}
_PLACES: dict[Keep, str] = {"device": "", "host": " in host memory", "file": " in a temporary file"}


@dataclass(frozen=True)
class Plan:
    """Which axes are swept, outer first, and how thick a slab is on each.

    `chunk` counts frames and `strip` counts rows of what is pushed: pixels when encoding, latents when decoding.
    No axes means the whole clip at once. `keep` says where the outer axis's state lies between two slabs: "device",
    "host" (memory), or "file" (a temporary one). `peak_bytes` and `state_bytes` are
    predictions and `budget_bytes` what they were made for, 0 where there are none; `added_bytes` may come to what is
    there when the pass begins, freed memory that is kept for reuse included; of that `step_bytes` says what each step
    of the sweep takes while it runs. They are no part of the plan's identity.
    """

    axes: tuple[int, ...] = ()
    chunk: int = 0
    strip: int = 0
    keep: Keep = "device"
    peak_bytes: int = field(default=0, compare=False)
    state_bytes: int = field(default=0, compare=False)
    budget_bytes: int = field(default=0, compare=False)
    added_bytes: int = field(default=0, compare=False)
    step_bytes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for axis in self.axes:
            if axis not in _NAMES or self.thickness(axis) < 1:
                raise ValueError(f"each swept axis (2: T, 3: H) needs a chunk or strip of at least 1, got {self!r}")

    def thickness(self, axis: int) -> int:
        """Items per slab along `axis`."""
        return self.chunk if axis == T else self.strip

    def thinner(self, shape: tuple[int, ...]) -> Plan | None:
        """The same in slabs half as thick, the outer axis first; None if that cannot be."""
        if not self.axes:
            return replace(self, axes=(T,), chunk=shape[T] // 2) if shape[T] > 1 else None
        for axis, name in ((a, "chunk" if a == T else "strip") for a in self.axes):
            if self.thickness(axis) > 1:
                return replace(self, **{name: self.thickness(axis) // 2})  # type: ignore[arg-type]
        return None

    def __str__(self) -> str:
        cuts = ", cut in ".join(f"slabs of {self._thickness_named(axis)}" for axis in self.axes)
        peak = f", predicted peak {self.peak_bytes / 2**20:.0f} MiB" if self.peak_bytes else ""
        state = f", state of {self.state_bytes / 2**20:.0f} MiB" if self.state_bytes else ""
        return (cuts or "whole clip") + peak + state + (_PLACES[self.keep] if self.axes else "")

    def _thickness_named(self, axis: int) -> str:
        count = self.thickness(axis)
        return f"{count} {_NAMES[axis]}" + ("s" if count > 1 else "")
