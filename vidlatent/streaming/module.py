"""The kinds of module a sweep understands: pointwise, local and barrier. A model is a tree of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from vidlatent.streaming.state import Gather, Halo, Notes
from vidlatent.streaming.sweep import Sweep
from vidlatent.streaming.window import H, T, W, Window, pad_whole


class Sweepable(nn.Module):
    """Maps a clip `(B, C, T, H, W)` to a clip, whole (`sweep=None`) or slab by slab.

    Of `axes` it takes all slabs before it answers; of two that are swept, of the outer.
    """

    axes: tuple[int, ...] = ()

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        raise NotImplementedError


class Pointwise(Sweepable):
    """Every position by itself; subclasses define `apply_to`, which also takes empty slabs."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep is None:
            return self.apply_to(x)
        if sweep.passes(x):
            return x
        sweep.begin(self, x)
        return sweep.attempt(self.apply_to, x)

    def apply_to(self, x: Tensor) -> Tensor:
        """The operator on any slab."""
        raise NotImplementedError


class Local(Sweepable):
    """Finite footprint on each axis: pads a whole clip, takes halos in a sweep, then always runs 'valid'.

    Subclasses define `valid`, and `empty_like` if they change the channels. A leaf belongs at one place in the tree:
    its state is found by its identity. `halo` is what it remembers along an axis.
    """

    halo: ClassVar[type[Halo]] = Halo
    windows: Mapping[int, Window]

    def __init__(self, *, t: Window | None = None, h: Window | None = None, w: Window | None = None) -> None:
        super().__init__()
        self.windows = {T: t or Window(), H: h or Window(), W: w or Window()}

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x) and not (sweep.idle and self._wakes(sweep)):
            return x
        if sweep and len(sweep.axes) == 1 and sweep.is_waiting(x):
            return self.empty_like(x, *(w.num_outputs(x.shape[a]) for a, w in self.windows.items()))
        lacking = padding = dict.fromkeys(self.windows, 0)
        whole: dict[int, Window] = {}
        for axis, window in self._in_order(sweep):
            swept, bare = sweep is not None and axis in sweep.axes, self.skips_zeros(axis, window)
            if window.is_pointwise or not (swept or x.shape[axis]):
                continue
            if not swept and self.pads_itself(window):
                padding = padding | {axis: window.before}
                continue
            if not swept and window.stride == 1 and min(window.before, window.after) >= 0 and not bare:
                whole[axis] = window  # padded together, below
                continue
            x, halo = self._through_halo(x, axis, window, sweep, bare=bare)
            lacking = lacking | {axis: halo.lacking}
        if sweep:
            sweep.begin(self, x)
        x = pad_whole(x, whole)
        counts = [w.num_valid(x.shape[a] + lacking[a] + 2 * padding[a]) for a, w in self.windows.items()]
        if not x.numel() or not all(counts):
            return self.empty_like(x, *counts)
        paddings = tuple(padding.values())
        return sweep.attempt(self.valid, x, paddings, lacking[T]) if sweep else self.valid(x, paddings, lacking[T])

    def _through_halo(
        self, x: Tensor, axis: int, window: Window, sweep: Sweep | None, *, bare: bool = False
    ) -> tuple[Tensor, Halo]:
        """What became complete along an axis; a whole axis is the same halo, fed once."""
        if sweep is None or axis not in sweep.axes:
            halo = self.halo()
            return halo.feed(x, axis, window, True, bare=bare), halo
        halo = sweep.state(self, axis, self.halo)
        if axis == sweep.axes[0]:
            sweep.enter(halo, x)
        joined = halo.carry is not None and 0 not in (halo.carry.shape[axis], x.shape[axis])
        sweep.begin((self, axis, joined, sweep.last[axis]), x, halo.carry)  # what ends is padded, and so copied too
        sweep.attempt(halo.join, x, axis)
        x = sweep.attempt(halo.give, axis, window, sweep.last[axis], bare=bare)
        sweep.last[axis] = halo.ended
        return x, halo

    def _wakes(self, sweep: Sweep) -> bool:
        """Whether a tail along the outer axis is left to give."""
        outer = sweep.axes[0]
        if self.windows[outer].is_pointwise:
            return False
        halo = sweep.state(self, outer, self.halo)
        if halo.tail and not halo.ended:
            sweep.wake(halo)
        return not sweep.idle

    def _in_order(self, sweep: Sweep | None) -> list[tuple[int, Window]]:
        """Swept axes first, the outer of them before the inner: its state is per inner slab."""
        swept = sweep.axes if sweep else ()
        return [(axis, self.windows[axis]) for axis in (*swept, *(a for a in self.windows if a not in swept))]

    def pads_itself(self, window: Window) -> bool:  # noqa: ARG002
        """Whether the operator applies this padding on its own, which saves a copy of the clip."""
        return False

    def skips_zeros(self, axis: int, window: Window) -> bool:  # noqa: ARG002
        """Whether the operator wants the zeros in front of an axis left away, which saves their arithmetic; T only."""
        return False

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:
        """The operator on padded input that gives at least one output.

        `padding` (T, H, W) is what it still must pad itself, `lacking` how many zero frames were left away in front.
        """
        raise NotImplementedError

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        """The operator's answer when one of `t`, `h`, `w`, the window's output counts, is 0."""
        return x.new_empty(x.shape[0], x.shape[1], t, h, w)


class Barrier(Sweepable):
    """Needs `axes` whole before it can answer, but of the slabs gone by and to come only what they were noted for.

    Subclasses say what to note of a slab, what the notes of all slabs come to, and the answer for a slab given that.
    In a sweep the slabs are held back until the axis ends and then answered one by one, each as thick as it came, so
    what is behind a barrier is swept as well. `gathers` says that the summary is as large as all notes together.
    """

    gathers: ClassVar[bool] = False

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def note(self, x: Tensor) -> list[Tensor]:
        """What a slab contributes to the summary."""
        raise NotImplementedError

    def merge(self, notes: list[list[Tensor]], axis: int) -> list[Tensor]:
        """The summary of everything noted, of slabs along `axis`."""
        raise NotImplementedError

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        """The operator on one slab."""
        raise NotImplementedError

    def recall(self, summary: list[Tensor], sweep: Sweep, *, first: bool) -> list[Tensor]:  # noqa: ARG002
        """Add what was remembered along other axes; `first` says that this summary was not asked for before."""
        return summary

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        swept = [axis for axis in sweep.axes if axis in self.axes] if sweep else []
        if sweep is None or not swept:
            if sweep:
                sweep.begin(self, x)
            return self._whole(x, sweep)
        axis = swept[0]  # the outer of two: when it ends, both have
        if sweep.passes(x) and not (sweep.idle and axis == sweep.axes[0]):
            return x
        gather = sweep.state(self, axis, Gather)
        sweep.begin(self, x, *gather.slabs[: int(gather.closed)])
        notes = sweep.state(self, axis, Notes, shared=len(swept) > 1)
        if gather.closed:
            return self._release(axis, gather, notes, sweep, shared=len(swept) > 1) if gather.slabs else x
        if axis == sweep.axes[0]:
            sweep.enter(gather, x)
        if sweep.last[axis] and not gather.slabs and len(swept) == 1:  # nothing to wait for
            gather.closed = True
            return self._whole(x, sweep)
        gather.hold(x, axis)
        if x.numel():
            notes.notes = [*notes.notes, sweep.attempt(self.note, x)]
        if sweep.last[axis]:
            gather.closed = True
            sweep.last[axis] = not gather.slabs
        return x.narrow(axis, 0, 0)

    def _whole(self, x: Tensor, sweep: Sweep | None) -> Tensor:
        if not x.numel():
            return x
        if sweep is None:
            return self.answer(x, self.merge([self.note(x)], self.axes[0]))
        summary = self.recall(self.merge([sweep.attempt(self.note, x)], self.axes[0]), sweep, first=True)
        return sweep.attempt(self.answer, x, summary)

    def _release(self, axis: int, gather: Gather, notes: Notes, sweep: Sweep, *, shared: bool) -> Tensor:
        """The next slab's answer; the axis ends with the last of them."""
        if sweep.idle:
            sweep.wake(gather)
        first = gather.given == 0
        slab = gather.release()
        sweep.last[axis] = not gather.slabs
        if not slab.numel():
            return slab
        if notes.summary is None:
            notes.summary, notes.notes = sweep.attempt(self.merge, notes.notes, axis), []
        summary = self.recall(notes.summary, sweep, first=first)
        if not gather.slabs and not shared:  # it was the last to ask
            notes.summary = None
        return sweep.attempt(self.answer, slab, summary)


Layer = Pointwise | Local | Barrier
"""What works on a clip; all else puts layers together."""
