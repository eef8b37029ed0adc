"""The kinds of module a sweep understands: pointwise, local and barrier. A model is a tree of these."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vidlatent.streaming.state import Gather, Halo, concat
from vidlatent.streaming.sweep import Sweep
from vidlatent.streaming.window import H, T, W, Window


class Sweepable(nn.Module):
    """Maps a clip `(B, C, T, H, W)` to a clip, whole (`sweep=None`) or slab by slab."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        raise NotImplementedError


class Pointwise(Sweepable):
    """Every position by itself; subclasses define `apply_to`, which also takes empty slabs."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:  # noqa: ARG002
        return self.apply_to(x)

    def apply_to(self, x: Tensor) -> Tensor:
        """The operator on any slab."""
        raise NotImplementedError


class Local(Sweepable):
    """Finite footprint on each axis: pads a whole clip, takes halos in a sweep, then always runs 'valid'.

    Subclasses define `valid`, and `empty_like` if they change the channels. A leaf belongs at one place in the tree:
    its state is found by its identity.
    """

    windows: Mapping[int, Window]

    def __init__(self, *, t: Window | None = None, h: Window | None = None, w: Window | None = None) -> None:
        super().__init__()
        self.windows = {T: t or Window(), H: h or Window(), W: w or Window()}

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        lacking = padding = dict.fromkeys(self.windows, 0)
        for axis, window in self._in_order(sweep):
            swept, bare = sweep is not None and axis in sweep.axes, self.skips_zeros(axis, window)
            if window.is_pointwise or not (swept or x.shape[axis]):
                continue
            if not swept and self.pads_itself(window):
                padding = padding | {axis: window.before}
                continue
            # a whole axis is the same halo, fed once
            halo = sweep.state(self, axis, Halo) if sweep and swept else Halo()
            x = halo.feed(x, axis, window, sweep.last[axis] if sweep and swept else True, bare=bare)
            lacking = lacking | {axis: halo.lacking}
        counts = [w.num_valid(x.shape[a] + lacking[a] + 2 * padding[a]) for a, w in self.windows.items()]
        if not x.numel() or not all(counts):
            return self.empty_like(x, *counts)
        return self.valid(x, tuple(padding.values()), lacking[T])

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
    """Needs `axes` whole before it can answer: in a sweep it gathers them, then runs `whole` once."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        slabs, along = [x], T
        for axis in sweep.axes if sweep else ():
            if axis in self.axes:
                assert sweep is not None
                held = concat(slabs, along)
                slabs, along = sweep.state(self, axis, Gather).feed(held, axis, sweep.last[axis]), axis
                if not slabs:
                    return held.narrow(axis, 0, 0)
        filled = [slab for slab in slabs if slab.numel()]
        return self.whole(filled, along) if filled else concat(slabs, along)

    def whole(self, slabs: list[Tensor], axis: int) -> Tensor:
        """The operator on input that is whole along `axes`, given in slabs along `axis`; the joint shape stays."""
        raise NotImplementedError
