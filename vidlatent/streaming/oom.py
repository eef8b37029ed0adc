"""Tell an exhausted memory from every other failure."""

from __future__ import annotations

import torch

_SIGNS = ("can't allocate memory", "not enough memory", "bad_alloc")
"""How torch and the C++ library say it on a CPU, where it has no class of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
