"""Count the memory a sweep needs by running it on meta tensors: no formula to rot, no arithmetic to pay for."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidlatent.streaming.kernels import FusedKernels, answer, effect
from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.workspace import CODE_BYTES, Workspace, compiled, compiles, workspace


class _Rule(NamedTuple):
    """What is known of an operator."""

    func: Any
    answer: Callable[..., Any]
    effect: str
    compiles: bool
    workspace: Workspace | None


class Effect(NamedTuple):
    """What was done: operators, bytes that they wrote, bytes at the peak above those live before, and code compiled."""

    calls: int
    made_bytes: int
    above_bytes: int
    compiled: frozenset[object]


class LiveStorage(TorchDispatchMode):
    """Bytes of all storages made under this mode that are still referenced, and their peak.

    The peak includes what an operator needs besides its answer while it runs on `device`, the kind of device ("cpu",
    "cuda") that the counted module is really on. `calls` counts operators, `made_bytes` what they write; views are
    neither. `peak_everywhere_bytes` is the peak with what lies on other devices, if `elsewhere` is given to say how
    much. `at_peak` is what `here` said when most was needed. While it `pauses` only storages and what was
    compiled are taken note of. Without `fuses` it is left to the module that is counted to keep together what torch
    takes apart on meta tensors only, which is quicker.
    """

    def __init__(self, device: torch.device | str = "cpu", *, fuses: bool = True) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = self.calls = self.made_bytes = 0
        self.elsewhere: Callable[[], int] | None = None
        self.peak_everywhere_bytes = self._most = 0
        self._marked = self._top = self._marked_everywhere = self._top_everywhere = 0
        self.here: Callable[[], object] = lambda: None
        self.at_peak: object = None
        self.device = torch.device(device).type
        self.pauses = False
        self._compiled: set[object] = set()
        self._rules: dict[int, _Rule] = {}
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._weakly = weakref.ref(self)
        self._fused = FusedKernels(self.device) if fuses else None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; torch would import its compiler (70 MiB) only to skip it."""
        return False

    def __enter__(self) -> LiveStorage:
        if self._fused:
            self._fused.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        if self._fused:
            self._fused.__exit__(*exception)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rule, named, counts = self._rule(func), dict(kwargs or {}), not self.pauses
        away = self._away() if counts else 0
        if counts:  # what went there since the last operator was copied while its source was live
            self._need_everywhere(self.live_bytes + away)
        result = rule.answer(*args, **named)
        if rule.effect == "view":
            return result
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.made_bytes += counts * tensor.nbytes
                if rule.effect == "new":
                    self._see(tensor)
        if rule.compiles:
            self._compiled.add(compiled(*args))
        if not counts:
            return result
        self.calls += 1
        self._need(self.live_bytes + (rule.workspace(args, named, result) if rule.workspace is not None else 0), away)
        return result

    def _need(self, nbytes: int, away: int) -> None:
        self.peak_bytes, self._top = max(self.peak_bytes, nbytes), max(self._top, nbytes)
        self._need_everywhere(nbytes + away)
        if nbytes > self._most:
            self._most, self.at_peak = nbytes, self.here()

    def _need_everywhere(self, nbytes: int) -> None:
        self.peak_everywhere_bytes = max(self.peak_everywhere_bytes, nbytes)
        self._top_everywhere = max(self._top_everywhere, nbytes)

    def _away(self) -> int:
        return self.elsewhere() if self.elsewhere is not None else 0

    def mark(self) -> None:
        """Count from here what `above_mark` tells."""
        self._marked = self._top = self.live_bytes
        self._marked_everywhere = self._top_everywhere = self.live_bytes + self._away()

    def above_mark(self) -> tuple[int, int]:
        """Bytes at the peak since the mark, above what was there: on the device, and everywhere."""
        top_everywhere = max(self._top_everywhere, self.live_bytes + self._away())  # what was put down last
        return self._top - self._marked, top_everywhere - self._marked_everywhere

    @contextmanager
    def unmarked(self) -> Iterator[None]:
        """What is made meanwhile was there at the mark."""
        live, everywhere = self.live_bytes, self.live_bytes + self._away()
        top, top_everywhere = self._top, self._top_everywhere
        yield
        more, more_everywhere = self.live_bytes - live, self.live_bytes + self._away() - everywhere
        self._marked, self._marked_everywhere = self._marked + more, self._marked_everywhere + more_everywhere
        self._top, self._top_everywhere = top + more, top_everywhere + more_everywhere

    def effect_of(self, operation: Callable[..., Any], *args: Any) -> tuple[Any, Effect]:
        """Run an operation, and tell what it did."""
        calls, made, live, peak = self.calls, self.made_bytes, self.live_bytes, self.peak_bytes
        known, self._compiled, self.peak_bytes = self._compiled, set(), live
        answer = operation(*args)
        above, code = self.peak_bytes - live, frozenset(self._compiled)
        self.peak_bytes, self._compiled = max(peak, self.peak_bytes), known | self._compiled
        return answer, Effect(self.calls - calls, self.made_bytes - made, above, code)

    def charge(self, effect: Effect) -> None:
        """Count it as if it had been done again."""
        self.calls, self.made_bytes = self.calls + effect.calls, self.made_bytes + effect.made_bytes
        self._compiled |= effect.compiled
        self._need(self.live_bytes + effect.above_bytes, self._away())

    def _rule(self, func: Any) -> _Rule:
        """Found by identity: operators take long to hash."""
        rule = self._rules.get(id(func))
        if rule is None:
            known = answer(func, self.device), effect(func), compiles(func, self.device), workspace(func, self.device)
            rule = self._rules[id(func)] = _Rule(func, *known)
        return rule

    def restart(self) -> None:
        """Begin peaks anew with what is live now."""
        self.peak_bytes = self.peak_everywhere_bytes = self.live_bytes

    @property
    def fused(self) -> bool:
        """Whether anything was kept together."""
        return self._fused is not None and self._fused.used

    @property
    def code_bytes(self) -> int:
        """Code that was compiled for the shapes that operators met; it stays, and is in no peak."""
        return len(self._compiled - {None}) * CODE_BYTES

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages and size:
            self.live_bytes += size
            self._storages[key] = weakref.ref(storage, partial(_forget, self._weakly, key, size))


def _forget(counter: weakref.ref[LiveStorage], key: int, size: int, _: object) -> None:
    """A storage is gone. Its counter, if it still is there, must not be held: that would be a cycle of references."""
    one = counter()
    if one is not None:
        del one._storages[key]
        one.live_bytes -= size


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
