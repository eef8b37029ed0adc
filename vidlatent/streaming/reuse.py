"""Use freed memory again while a sweep runs: the system clears the pages of all that it hands out, which takes time.

The heap keeps what is freed, and before a step of the sweep resident memory is looked at. What the step takes was
counted with the plan; if that is too much beside what is resident, the heap's gaps are returned first, and if it still
is, blocks of this step are mappings of their own, which leave no gaps.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import RLock
from typing import NamedTuple

from vidlatent.streaming import heap
from vidlatent.streaming.steps import Expected

_WORTH_IT = 1 << 20
"""Smaller gaps are not returned: looking through the heap takes time too."""
_LEFT = 0.25
"""Of the room of a sweep, what earlier ones may have left at most: the rest came from elsewhere meanwhile."""
_SPARE = 8 << 20
"""Left free for what the interpreter takes, and for steps that take a little more than before."""


class _Look(NamedTuple):
    """Bytes of this process that are resident, and of these in gaps of the heap."""

    resident: int
    gaps: int


def _look(statm: int, apart: int = 0) -> _Look:
    """What is seen now; what is no block counts as gaps, but for what is known to be `apart`."""
    resident = _resident(statm)
    used = heap.in_use()
    assert used is not None
    return _Look(resident, resident - sum(used) - apart)


def _resident(statm: int) -> int:
    return int(os.pread(statm, 80, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class _Process:
    """What sweeps that run at once have in common: one heap, and the room of all of them above what was there.

    Bytes that are no block were `apart` when the first of them began. What earlier sweeps `left` of those, code that
    was compiled and pages not quite empty, is a part of what the next one was predicted to need.
    """

    lock: RLock = field(default_factory=RLock)  # the garbage collector may end one while another begins
    running: int = 0
    limit: int = 0
    apart: int = 0
    left: int = 0
    mapping: bool = False

    def begin(self, now: _Look, added_bytes: int) -> None:
        with self.lock:
            if self.running:
                self.limit = max(self.limit, now.resident) + added_bytes
            else:
                self.limit = now.resident + added_bytes - min(self.left, int(added_bytes * _LEFT))
                self.apart = now.gaps
            self.running += 1

    def end(self, statm: int, added_bytes: int, budget_bytes: int, peak_bytes: int) -> None:
        with self.lock:
            self.running -= 1
            self.limit -= added_bytes
            if not self.running:
                self.mapping = False
                heap.return_freed_blocks(budget_bytes, peak_bytes)
                self.left = max(self.left + _look(statm).gaps - self.apart, 0)

    def map_blocks(self, on: bool) -> None:
        if on != self.mapping:
            heap.map_blocks(on)
            self.mapping = on


_process = _Process()


class Reuse:
    """Keeps resident memory within `added_bytes` above what it is now, as long as a sweep needs no more.

    `steps` says what each step of it takes. Those that run at once share their room. When the last of a process is
    closed, or forgotten, freed memory is returned as `heap.return_freed_blocks` does it for the budget.
    """

    def __init__(self, added_bytes: int, budget_bytes: int, peak_bytes: int, steps: Expected) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._steps = steps
        now = _look(self._statm)
        self._apart = now.gaps  # libraries, and what else is no block: the heap was trimmed just now
        _process.begin(now, added_bytes)
        heap.use_huge_pages(added_bytes)
        self.close = weakref.finalize(self, _end, self._statm, added_bytes, budget_bytes, peak_bytes)
        self.close.atexit = False

    @classmethod
    def within(cls, added_bytes: int, budget_bytes: int, peak_bytes: int, steps: Expected) -> Reuse | None:
        """One that has begun, or None where the heap cannot be told to keep what is freed."""
        if heap.in_use() is None or not heap.keep_freed_blocks():
            return None
        return cls(added_bytes, budget_bytes, peak_bytes, steps)

    def make_room(self, step: Hashable, nbytes: int) -> None:
        """`step` is about to work on so many bytes."""
        if not nbytes:
            return
        limit, takes = _process.limit - _SPARE, self._steps.of(step, nbytes)
        if _resident(self._statm) + takes <= limit:
            _process.map_blocks(False)
            return  # to look at the heap takes longer than many a small step
        now = _look(self._statm, self._apart)
        if now.gaps > _WORTH_IT:
            heap.return_free_heap()
            heap.use_huge_pages(max(limit - now.resident + now.gaps, 0))
            now = _look(self._statm, self._apart)
            self._apart += now.gaps  # there are none now: an answer not yet written to hid some
        _process.map_blocks(now.resident + takes > limit)


def _end(statm: int, added_bytes: int, budget_bytes: int, peak_bytes: int) -> None:
    _process.end(statm, added_bytes, budget_bytes, peak_bytes)
    os.close(statm)
