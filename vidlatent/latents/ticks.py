"""Frame times as whole ticks of a unit that holds all of them exactly, eight bytes a frame."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from fractions import Fraction
from operator import eq
from typing import overload

from vidlatent.errors import InputError

_INT64_MAX = 2**63 - 1


class Ticks(Sequence[Fraction]):
    """Times in seconds, appended as they come; the unit becomes finer when a time asks for it."""

    def __init__(self, ticks: Iterable[int] = (), *, per_second: int = 1) -> None:
        self.per_second = per_second
        self._ticks = array("q", ticks)

    def __len__(self) -> int:
        return len(self._ticks)

    @overload
    def __getitem__(self, at: int) -> Fraction: ...
    @overload
    def __getitem__(self, at: slice) -> list[Fraction]: ...
    def __getitem__(self, at: int | slice) -> Fraction | list[Fraction]:
        if isinstance(at, slice):
            return [tick * self.time_base for tick in self._ticks[at]]
        return self._ticks[at] * self.time_base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # it grows

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(1, self.per_second)

    def extend(self, seconds: Sequence[Fraction]) -> None:
        """Append times.

        Raises:
            InputError: A time is before the one that came last, or no unit that 64 bits can count holds all of them.
        """
        times = [
            time if type(time) is Fraction else Fraction(time) for time in seconds
        ]  # a copy costs more than the rest
        per_second = math.lcm(self.per_second, *(time.denominator for time in times))
        ticks = [time.numerator * (per_second // time.denominator) for time in times]
        finer = per_second // self.per_second
        last = self._ticks[-1] * finer if self._ticks else None
        if any(abs(tick) > _INT64_MAX for tick in (*ticks, last or 0)):
            raise InputError(f"frame times need a unit of 1/{per_second} s, finer than 64 bits count: round them first")
        for tick in ticks:
            if last is not None and tick < last:
                raise InputError(f"frame times go back from {last}/{per_second} to {tick}/{per_second} s")
            last = tick
        if finer > 1:
            self._ticks = array("q", (tick * finer for tick in self._ticks))
        self.per_second = per_second
        self._ticks.extend(ticks)

    def tolist(self) -> list[int]:
        """The ticks."""
        return self._ticks.tolist()

    def tobytes(self) -> bytes:
        """The ticks as little-endian int64."""
        ticks = array("q", self._ticks)
        if _is_big_endian():
            ticks.byteswap()
        return ticks.tobytes()


def _is_big_endian() -> bool:
    return array("h", [1]).tobytes()[0] == 0
