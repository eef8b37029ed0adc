"""Padding and thinning of one axis, as modules of their own."""

from __future__ import annotations

from torch import Tensor

from vidlatent.streaming import H, Local, PadMode, T, W, Window

_NAMES = {T: "t", H: "h", W: "w"}


class Pad(Local):
    """Add `before` and `after` items to the ends of one axis; an operator behind it sees them, a norm too."""

    def __init__(self, axis: int, before: int, after: int, mode: PadMode) -> None:
        super().__init__(**{_NAMES[axis]: Window(before=before, after=after, mode=mode)})

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        return x


class Every(Local):
    """Items 0, `step`, 2 * `step`, ... of one axis."""

    def __init__(self, axis: int, step: int) -> None:
        super().__init__(**{_NAMES[axis]: Window(1, step)})
        self.axis, self.step = axis, step

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        keep = [slice(None)] * x.ndim
        keep[self.axis] = slice(None, None, self.step)
        return x[tuple(keep)]
