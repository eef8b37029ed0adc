"""One pass over a clip in slabs, with all of its state; modules themselves never change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor, nn

from vidlatent.streaming.window import H, T

State = TypeVar("State")
Key = tuple[nn.Module, int, tuple[int, ...]]


class Sweep:
    """All state of one pass over `axes`, outer axis first.

    A state is found by (module, axis, index of the inner slab): nesting two axes is one more index, two sweeps never
    meet, and a sweep that failed leaves nothing behind. The inner partition must stay the same for the whole pass; the
    outer may be cut anywhere.
    """

    def __init__(self, *axes: int) -> None:
        if len(set(axes)) != len(axes) or not set(axes) <= {T, H}:
            raise ValueError(f"axes must be T (2) and H (3), each at most once, outer first; got {axes}")
        self.axes = axes
        self.index = dict.fromkeys(axes, 0)
        self.last = dict.fromkeys(axes, False)
        self._states: dict[Key, Any] = {}

    def state(self, module: nn.Module, axis: int, kind: type[State]) -> State:
        """Return what `module` remembers along `axis` at the current inner slab, new at the first slab."""
        inner = self.axes[self.axes.index(axis) + 1 :]
        key = (module, axis, tuple(self.index[a] for a in inner))
        state = self._states.get(key)
        if not isinstance(state, kind):  # new, or saved and not asked for since
            state = self._states[key] = kind(**(state or {}))
        return state

    def rewind(self, axis: int) -> None:
        """Forget the states along `axis`: the next slab is its first again."""
        self._states = {key: state for key, state in self._states.items() if key[1] != axis}

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that the sweep holds."""
        for state in self._states.values():
            for value in state.values() if isinstance(state, dict) else vars(state).values():
                yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, Tensor))

    @property
    def state_bytes(self) -> int:
        """Memory held between two slabs."""
        return sum(tensor.nbytes for tensor in self.tensors())

    def state_dict(self, root: nn.Module) -> dict[str, dict[str, Any]]:
        """Everything needed to continue this pass elsewhere; loads with `torch.load(weights_only=True)`."""
        names = {module: name for name, module in root.named_modules()}
        saved = {}
        for (module, axis, inner), state in self._states.items():
            key = f"{names[module]}|{axis}|{','.join(map(str, inner))}"
            saved[key] = state if isinstance(state, dict) else {e.name: getattr(state, e.name) for e in fields(state)}
        return saved

    def load_state_dict(self, root: nn.Module, saved: dict[str, dict[str, Any]]) -> None:
        """Take up the pass that `state_dict` saved; each state gets its class back when its module asks for it."""
        modules = dict(root.named_modules())
        self._states = {}
        for key, entry in saved.items():
            name, axis, inner = key.split("|")
            if name not in modules:
                raise ValueError(
                    f"the saved pass is of another module: it holds state of {name!r}, which this one lacks"
                )
            index = tuple(int(i) for i in inner.split(",") if i)
            self._states[modules[name], int(axis), index] = entry
