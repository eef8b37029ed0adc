"""One pass over a clip in slabs, with all of its state; modules themselves never change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

from vidlatent.streaming.oom import is_out_of_memory
from vidlatent.streaming.reuse import Reuse
from vidlatent.streaming.shelf import Keep, Kept
from vidlatent.streaming.shelves import SHELVES
from vidlatent.streaming.state import State, convert, kept_in
from vidlatent.streaming.steps import modules_named
from vidlatent.streaming.window import H, T

Kind = TypeVar("Kind")
Answer = TypeVar("Answer")
Key = tuple[nn.Module, tuple[int, ...], str]

EVERY = (-1,)
"""Stands for the inner slab's index in a state that all inner slabs share."""


class Sweep:
    """All state of one pass over `axes`, outer axis first.

    A state is found by (module, axis, index of the inner slab, kind): nesting two axes is one more index, two sweeps
    never meet, and a sweep that failed leaves nothing behind. The inner partition must stay the same for the whole
    pass; the outer may be cut anywhere. `keep` says where the outer axis's state lies between two slabs.

    `last` says for each axis whether the slab at hand is its last. A barrier that begins to give out what it held says
    that it is not, for the modules behind it; whoever drives the sweep goes on with empty slabs until the end comes out
    at the other end. Then `idle` says that the outer axis has long ended here: modules let what they are given pass,
    until one that still has something to give wakes those behind it.

    `counts` says that a module that is idle took note of how far the inner axis is, and so must see every slab; of the
    others a chain leaves out those that stay idle.

    With `skims`, modules let an empty slab pass while they wait for the outer axis, as behind a barrier they mostly do;
    not within branches, where what waits is counted against what another branch has.
    """

    def __init__(self, *axes: int, keep: Keep = "device") -> None:
        if len(set(axes)) != len(axes) or not set(axes) <= {T, H}:
            raise ValueError(f"axes must be T (2) and H (3), each at most once, outer first; got {axes}")
        self.axes = axes
        self.index = dict.fromkeys(axes, 0)
        self.last = dict.fromkeys(axes, False)
        self.idle = self.skims = self.counts = False
        self._depth = 0
        self.keep, self.shelf = keep, SHELVES[keep]()
        self.relieved = False
        self.reuse: Reuse | None = None
        self._states: dict[int, dict[Key, Any]] = {axis: {} for axis in axes}

    def state(self, module: nn.Module, axis: int, kind: type[Kind], *, shared: bool = False) -> Kind:
        """Return what `module` remembers along `axis` at the current inner slab, new at the first slab.

        `shared` is for a state that all inner slabs have in common.
        """
        index = EVERY if shared else () if axis == self.axes[-1] else (self.index[self.axes[-1]],)
        states, key = self._states[axis], (module, index, kind.__name__)
        state: Any = states.get(key)
        if not isinstance(state, kind):  # new, or saved and not asked for since
            state = states[key] = kind(**(state or {}))
            if axis == self.axes[0] and issubclass(kind, State):
                state.shelf = self.shelf
        return state

    def wake(self, state: State) -> None:
        """Be busy again from here on, with the inner axis as far as it was when `state` took in its slabs."""
        self.idle = False
        for axis in self.axes[1:]:
            self.last[axis] = state.inner_last

    def begin(self, step: Hashable, *inputs: Tensor | Kept | None) -> None:
        """A step of the pass is about to work on `inputs`: a leaf, a part of one, or whoever takes the answer."""
        if self.reuse:
            self.reuse.make_room(step, sum(x.nbytes for x in inputs if x is not None))

    def enter(self, state: State, x: Tensor) -> None:
        """Note how far the inner axis is when `x` comes, for `wake`; empty slabs do not count."""
        for axis in self.axes[1:]:
            if x.shape[self.axes[0]]:
                state.inner_last = self.last[axis]

    def is_waiting(self, x: Tensor) -> bool:
        """Whether nothing has come along the innermost axis, nor its end: no layer has anything to do."""
        return not x.shape[self.axes[-1]] and not self.last[self.axes[-1]]

    def passes(self, x: Tensor) -> bool:
        """Whether modules let `x` pass as it is: where they are idle, or wait for more along the inner or outer axis.

        What passes while they wait says nothing but that: its channels and other axes are those of a place before.
        """
        if self.idle or (len(self.axes) > 1 and self.is_waiting(x)):
            return True
        outer = self.axes[0]
        return self.skims and not self._depth and not x.shape[outer] and not self.last[outer]

    @contextmanager
    def thorough(self) -> Iterator[None]:
        """Do not skim."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def rewind(self, axis: int) -> None:
        """Forget the states along `axis`: the next slab is its first again."""
        self._states[axis] = {}

    def attempt(self, operation: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
        """Run an operation; if memory runs out, take the outer state off the device and run it once more."""
        try:
            return operation(*args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error) or not self._relieve():
                raise
        return operation(*args, **kwargs)

    def _relieve(self) -> bool:
        """Move the outer state off the device; False if that was done before or there is none."""
        held = [t for t in self.tensors() if isinstance(t, Tensor)]
        if self.relieved or self.keep != "device" or not held:
            return False
        self.relieved, self.keep = True, "host" if held[0].is_cuda else "file"
        self.shelf = SHELVES[self.keep]()
        for state in self._states[self.axes[0]].values():
            if isinstance(state, State):
                state.shelf = self.shelf
                for name, value in vars(state).items():
                    setattr(state, name, convert(value, self.shelf.put))
        return True

    def tensors(self) -> Iterator[Tensor | Kept]:
        """Everything that the sweep holds, wherever it lies."""
        for axis in self.axes:
            for _, _, state in self.states(axis):
                yield from kept_in(state)

    @property
    def state_bytes(self) -> int:
        """Memory held between two slabs, wherever it lies."""
        return sum(held.nbytes for held in self.tensors())

    def states(self, axis: int) -> Iterator[tuple[nn.Module, tuple[int, ...], Any]]:
        """Every state along `axis` with its module and the index of its inner slab."""
        return ((module, inner, state) for (module, inner, _), state in self._states[axis].items())

    def state_dict(self, root: nn.Module) -> dict[str, dict[str, Any]]:
        """Everything needed to continue this pass elsewhere; loads with `torch.load(weights_only=True)`."""
        names = modules_named(root)
        saved = {}
        for axis, states in self._states.items():
            for (module, inner, kind), state in states.items():
                key = f"{names[module]}|{axis}|{','.join(map(str, inner))}|{kind}"
                entries = state if isinstance(state, dict) else vars(state)
                saved[key] = {k: convert(value, self.shelf.copy) for k, value in entries.items() if k != "shelf"}
        return saved

    def load_state_dict(self, root: nn.Module, saved: dict[str, dict[str, Any]]) -> None:
        """Take up the pass that `state_dict` saved; each state gets its class back when its module asks for it."""
        modules = dict(root.named_modules())
        self._states = {axis: {} for axis in self.axes}
        for key, entries in saved.items():
            name, axis, inner, kind = key.split("|")
            if name not in modules:
                raise ValueError(
                    f"the saved pass is of another module: it holds state of {name!r}, which this one lacks"
                )
            index = tuple(int(i) for i in inner.split(",") if i)
            self._states[int(axis)][modules[name], index, kind] = dict(entries)
