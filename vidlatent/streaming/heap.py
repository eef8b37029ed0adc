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
_GAPS = 512
"""A heap was seen to hold up to twenty thresholds in gaps: 1/512 of a budget each keeps them near 4% of it."""


def return_freed_blocks(budget_bytes: int) -> bool:
    """From now on return freed blocks of more than 1/512 of `budget_bytes` to the system at once; keep smaller ones.

    The pages of each new mapping are cleared by the system, which takes time: so the threshold is not smaller than
    the budget asks for. Free parts of the heap are returned now. Does nothing, and returns False, unless the C
    library is glibc, and where the environment sets its allocator (`MALLOC_...`, `GLIBC_TUNABLES`). Any number of
    calls is one call: the last budget holds, for the whole process.
    """
    if not _is_ours_to_set():
        return False
    libc, threshold = ctypes.CDLL(None), min(max(budget_bytes // _GAPS, _SMALLEST), _LARGEST)
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
