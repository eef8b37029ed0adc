"""The C library's heap: what it keeps of freed memory, what is resident of it, and giving it back.

glibc serves blocks below its mmap threshold from a heap that shrinks only at its top, and raises the threshold up to
32 MiB as large blocks are freed (mallopt(3)). Activations of a few MiB then leave gaps that the next ones do not fit:
the heap grows far beyond what is in use. A block above the threshold is a mapping of its own and goes back when freed.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import cache
from typing import NamedTuple

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_SMALLEST, _LARGEST, _MAPPINGS = 128 * 2**10, 32 * 2**20, 65536
"""What glibc starts with, what it accepts at most, and how many mappings it makes."""
_GAPS = 30
"""Thresholds that the gaps of a heap may add up to; 20 were seen."""


class InUse(NamedTuple):
    """Bytes in the heap, and in mappings of their own."""

    in_heap: int
    mapped: int


class _Info(ctypes.Structure):
    """What mallinfo2(3) tells."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    )


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
    threshold = min(max(spare // _GAPS, _SMALLEST), _LARGEST)
    # the heap's top is kept as glibc itself would: twice the threshold
    return _set({_MMAP_MAX: _MAPPINGS, _MMAP_THRESHOLD: threshold, _TRIM_THRESHOLD: 2 * threshold})


def keep_freed_blocks() -> bool:
    """From now on keep all freed blocks, of any size, until the next `return_free_heap`; see `return_freed_blocks`."""
    if not _is_ours_to_set():
        return False
    return _set({_MMAP_MAX: 0, _MMAP_THRESHOLD: _SMALLEST, _TRIM_THRESHOLD: 2**31 - 1})


def map_blocks(on: bool) -> None:
    """While the heap keeps freed blocks: make new ones mappings of their own, or no more."""
    _libc().mallopt(_MMAP_MAX, _MAPPINGS if on else 0)


def use_huge_pages(ahead_bytes: int) -> None:
    """Have the heap, and so much above it as it may grow by, backed by huge pages where the system has them.

    Clearing one takes it a fifth of the time of the 512 small ones, or less (madvise(2)). To be told when the heap has
    returned what was free at its top.
    """
    start = _start_of_heap() if _is_ours_to_set() else None
    if start is None or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    libc, physical = _libc(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # the top grows and stays: nothing of it is resident yet; of too much the system would give nothing
    libc.free(libc.malloc(min(ahead_bytes, physical // 2)))
    libc.madvise(start, libc.sbrk(0) - start, mmap.MADV_HUGEPAGE)


@cache
def _start_of_heap() -> int | None:
    """Address where the heap of the main thread begins; None if there is none."""
    with open("/proc/self/maps") as maps:
        return next((int(line.split("-")[0], 16) for line in maps if line.endswith("[heap]\n")), None)


def return_free_heap() -> None:
    """Give the free parts of the heap to the system now; nothing unless the C library is glibc."""
    if _is_glibc():
        _libc().malloc_trim(0)


def in_use() -> InUse | None:
    """Bytes of blocks that are not freed; None where the C library does not tell (glibc does from 2.33 on)."""
    mallinfo = getattr(_libc(), "mallinfo2", None) if _is_glibc() else None
    if mallinfo is None:
        return None
    info = mallinfo()
    return InUse(info.uordblks, info.hblkhd)


def _set(options: dict[int, int]) -> bool:
    accepted = [_libc().mallopt(option, value) for option, value in options.items()]
    return_free_heap()
    return all(accepted)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    if _is_glibc():
        libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
        libc.malloc.argtypes, libc.free.argtypes = (ctypes.c_size_t,), (ctypes.c_void_p,)
        libc.sbrk.argtypes = (ctypes.c_ssize_t,)
        libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if hasattr(libc, "mallinfo2"):
            libc.mallinfo2.restype = _Info
    return libc


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
