"""Make the C library give freed memory back, so that resident memory is what is in use.

glibc serves blocks below its mmap threshold from a heap that shrinks only at its top, and raises the threshold up to
32 MiB as large blocks are freed (mallopt(3)). Activations of a few MiB then leave gaps that the next ones do not fit:
the heap grows far beyond what is in use. A block above the threshold is a mapping of its own and goes back when freed.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_SMALLEST, _LARGEST = 128 * 2**10, 32 * 2**20
"""What glibc starts with and what it accepts at most."""
_GAPS = 30
"""Thresholds that the gaps of a heap may add up to; 20 were seen."""


def return_freed_blocks(budget_bytes: int, needed_bytes: int = 0) -> bool:
    """From now on keep freed blocks only as far as their gaps fit into a budget; return larger ones to the system.

    The pages of each new mapping are cleared by the system, which takes time: so gaps may take a 25th of
    `budget_bytes`, which predictions allow for, and half of what `needed_bytes` leaves of it, 0 if that is not known.
    Free parts of the heap are returned now. Does nothing, and returns False, unless the C library is glibc, and where
    the environment sets its allocator (`MALLOC_...`, `GLIBC_TUNABLES`). Any number of calls is one call: the last
    budget holds, for the whole process.
    """
    if not _is_ours_to_set():
        return False
    spare = budget_bytes // 25 + (max(budget_bytes - needed_bytes, 0) // 2 if needed_bytes else 0)
    libc, threshold = ctypes.CDLL(None), min(max(spare // _GAPS, _SMALLEST), _LARGEST)
    # the heap's top is kept as glibc itself would: twice the threshold
    accepted = libc.mallopt(_MMAP_THRESHOLD, threshold) and libc.mallopt(_TRIM_THRESHOLD, 2 * threshold)
    return_free_heap()
    return bool(accepted)


def return_free_heap() -> None:
    """Give the free parts of the heap to the system now; nothing unless the C library is glibc."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_ours_to_set() -> bool:
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    return "glibc.malloc" not in os.environ.get("GLIBC_TUNABLES", "") and _is_glibc()


def _is_glibc() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):  # musl knows no such name
        return False
