"""Other rates without weights: means, linear interpolation, and single frames left away or repeated."""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.nn.passed import frames_before
from vidlatent.streaming import H, Local, Sweep, Sweepable, T, W, Window


class FrameMean(Local):
    """The mean of the frames that each position of a window along T covers."""

    def __init__(self, window: Window) -> None:
        super().__init__(t=window)
        self.window = window

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        count = self.window.num_valid(x.shape[T])
        stop = (count - 1) * self.window.stride + 1
        total = x[:, :, 0 : stop : self.window.stride]
        for tap in range(1, self.window.kernel):
            total = total + x[:, :, tap : tap + stop : self.window.stride]
        return total / self.window.kernel


class Interpolate(Local):
    """Twice as many items of one axis by linear interpolation between their centres; the ends are copied.

    `out[2i] = x[i-1] / 4 + 3 x[i] / 4`, `out[2i+1] = 3 x[i] / 4 + x[i+1] / 4`, as `torch.nn.functional.interpolate`
    has it without aligned corners.
    """

    def __init__(self, axis: int) -> None:
        super().__init__(**{{T: "t", H: "h", W: "w"}[axis]: Window.centred(3, mode="replicate")})
        self.axis = axis

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        before, here, after = (x.narrow(self.axis, start, x.shape[self.axis] - 2) for start in range(3))
        pairs = torch.stack([torch.lerp(here, before, 0.25), torch.lerp(here, after, 0.25)], self.axis + 1)
        return pairs.flatten(self.axis, self.axis + 1)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        extent = {T: t, H: h, W: w}
        extent[self.axis] *= 2
        return x.new_empty(*x.shape[:2], *extent.values())


class RepeatFrames(Sweepable):
    """Frames `start` to `stop` of the clip `times` times each, none of them for 0; the others as they are."""

    def __init__(self, start: int, stop: int, *, times: int) -> None:
        super().__init__()
        self.start, self.stop, self.times = start, stop, times

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        seen, length = frames_before(self, x, sweep), x.shape[T]
        start, stop = (min(max(edge - seen, 0), length) for edge in (self.start, self.stop))
        if start == stop:
            return x
        middle = x[:, :, start:stop].repeat_interleave(self.times, T)
        return torch.cat([x[:, :, :start], middle, x[:, :, stop:]], T)
