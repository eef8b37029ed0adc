"""Count the memory a sweep needs by running it on meta tensors: no formula to rot, no arithmetic to pay for."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidlatent.streaming.kernels import FusedKernels, answer, effect
from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.workspace import CODE_BYTES, compiled, workspace


class LiveStorage(TorchDispatchMode):
    """Bytes of all storages made under this mode that are still referenced, and their peak.

    The peak includes what an operator needs besides its answer while it runs on `device`, the kind of device ("cpu",
    "cuda") that the counted module is really on. `calls` counts operators, `made_bytes` what they write; views are
    neither. `peak_everywhere_bytes` is the peak with what lies on other devices, if `elsewhere` is given to say how
    much. `at_peak` is what `here` said when most was needed.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = self.calls = self.made_bytes = 0
        self.elsewhere: Callable[[], int] | None = None
        self.peak_everywhere_bytes = self._most = 0
        self.here = self.at_peak = ""
        self.device = torch.device(device).type
        self._compiled: set[object] = set()
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._fused = FusedKernels(self.device)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; torch would import its compiler (70 MiB) only to skip it."""
        return False

    def __enter__(self) -> LiveStorage:
        self._fused.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._fused.__exit__(*exception)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        away = self.elsewhere() if self.elsewhere is not None else 0
        # what went there since the last operator was copied while its source was live
        self.peak_everywhere_bytes = max(self.peak_everywhere_bytes, self.live_bytes + away)
        result = answer(func, self.device)(*args, **named)
        kind = effect(func)
        if kind == "view":
            return result
        self.calls += 1
        if (shapes := compiled(func, args, self.device)) is not None:
            self._compiled.add(shapes)
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.made_bytes += tensor.nbytes
                if kind == "new":
                    self._see(tensor)
        needed = self.live_bytes + workspace(func, args, named, result, self.device)
        self.peak_bytes = max(self.peak_bytes, needed)
        self.peak_everywhere_bytes = max(self.peak_everywhere_bytes, needed + away)
        if needed > self._most:
            self._most, self.at_peak = needed, self.here
        return result

    @property
    def code_bytes(self) -> int:
        """Code that was compiled for the shapes that operators met; it stays, and is in no peak."""
        return len(self._compiled) * CODE_BYTES

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages and size:
            self.live_bytes += size
            self._storages[key] = weakref.ref(storage, lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        del self._storages[key]
        self.live_bytes -= size


def to_meta(module: Sweepable) -> Sweepable:
    """A copy of `module` without its numbers, for counting; the numbers are never copied."""
    twins: dict[int, Any] = {}
    for parameter in module.parameters():
        empty = torch.empty_like(parameter, device="meta")
        twins[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in module.buffers():
        twins[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(module, twins)


def weight_bytes(module: Sweepable) -> int:
    """Memory of parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


@torch.no_grad()
def empty_clip(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A meta tensor in the layout that activations have."""
    return torch.empty(tuple(shape), dtype=dtype, device="meta", memory_format=torch.channels_last_3d)
