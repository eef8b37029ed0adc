"""What an operator of a layer did when its memory was counted, so that it need not run again for the next slab."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vidlatent.streaming.meter import Effect, LiveStorage

Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class _Known:
    """What it does beside making its answer, and the answer: one tensor, or several."""

    effect: Effect
    layouts: list[Layout]
    several: bool


@dataclass
class Repeats:
    """Methods of modules by the layouts of what they were given; None for those that must run each time."""

    _known: dict[Hashable, _Known | None] = field(default_factory=dict)

    def run(self, counter: LiveStorage, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The answer of `method` on meta tensors, counted as if it had run."""
        module = getattr(method, "__self__", None)
        if counter.pauses or not isinstance(module, nn.Module):
            return method(*args)
        key = (module, method.__name__, tuple(_layouts(args)))
        if key not in self._known:
            return self._run_first(key, counter, method, args)
        known = self._known[key]
        if known is None:
            return method(*args)
        counter.charge(known.effect)
        answer = [torch.empty_strided(*layout[:2], dtype=layout[2], device="meta") for layout in known.layouts]
        return answer if known.several else answer[0]

    def _run_first(self, key: Hashable, counter: LiveStorage, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run it; what answers with a view, or keeps more alive than its answer, must run each time."""
        live = counter.live_bytes
        answer, effect = counter.effect_of(method, *args)
        parts = answer if isinstance(answer, list) else [answer]
        nbytes = sum(part.nbytes for part in parts)
        whole = all(part.untyped_storage().nbytes() == part.nbytes for part in parts)
        if counter.live_bytes - live != nbytes or not whole:
            self._known[key] = None
            return answer
        effect = effect._replace(calls=effect.calls - len(parts), made_bytes=effect.made_bytes - nbytes)
        layouts = [(tuple(part.shape), part.stride(), part.dtype) for part in parts]
        self._known[key] = _Known(effect, layouts, several=answer is parts)
        return answer


def _layouts(args: Any) -> Iterator[Hashable]:
    for arg in args:
        if isinstance(arg, Tensor):
            yield arg.shape, arg.stride(), arg.dtype
        elif isinstance(arg, (list, tuple)):
            yield tuple(_layouts(arg))
        else:
            yield arg
