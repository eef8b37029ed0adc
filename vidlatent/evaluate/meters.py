"""Seconds and memory of one side only: what reads the clip and what measures it does not count."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from vidlatent.streaming.heap import return_free_heap

Item = TypeVar("Item")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Meter:
    """Seconds spent in what it is wrapped around, and resident memory there above that at the start.

    `peak_bytes` is None where the system does not tell (other than Linux, without a GPU).
    """

    def __init__(self) -> None:
        self.seconds, self.peak_bytes = 0.0, None if _status("VmRSS") is None else 0
        return_free_heap()  # or what was freed before would hide what is taken now
        self._base = _status("VmRSS") or 0
        self._waiting = 0.0

    def call(self, action: Callable[[], Item]) -> Item:
        """Run and count one step."""
        waited, started = self._waiting, time.perf_counter()
        with suppress(OSError):
            _CLEAR.write_text("5")  # forgets the highest mark
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        result = action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - started - (self._waiting - waited)
        if self.peak_bytes is not None:
            on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
            self.peak_bytes = max(self.peak_bytes, on_device or (_status("VmHWM") or 0) - self._base)
        return result

    def each(self, items: Iterator[Item]) -> Iterator[Item]:
        """Pass items on, counting what making them takes."""
        end = object()
        while (item := self.call(lambda: next(items, end))) is not end:
            yield item  # type: ignore[misc]

    def outside(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on to what is counted, not counting what making them takes."""
        iterator, end = iter(items), object()
        while True:
            started = time.perf_counter()
            item = next(iterator, end)
            self._waiting += time.perf_counter() - started
            if item is end:
                return
            yield item  # type: ignore[misc]


def _status(field: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None
