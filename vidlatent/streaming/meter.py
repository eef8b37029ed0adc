"""Count the memory a sweep needs by running it on meta tensors: no formula to rot, no arithmetic to pay for."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from vidlatent.streaming.module import Sweepable


class LiveStorage(TorchDispatchMode):
    """Bytes of all storages made under this mode that are still referenced, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return result

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size


def to_meta(module: Sweepable) -> Sweepable:
    """A copy of `module` without its numbers, for counting."""
    return copy.deepcopy(module).to("meta")


def weight_bytes(module: Sweepable) -> int:
    """Memory of parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


@torch.no_grad()
def empty_clip(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A meta tensor in the layout that activations have."""
    return torch.empty(tuple(shape), dtype=dtype, device="meta").to(memory_format=torch.channels_last_3d)
