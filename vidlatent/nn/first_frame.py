"""A rule for the first frame and another for all that follow."""

from __future__ import annotations

from torch import Tensor

from vidlatent.nn.passed import frames_before
from vidlatent.streaming import Sweep, Sweepable, T
from vidlatent.streaming.state import concat


class Apart(Sweepable):
    """`first` of the first frame and `rest` of the others, both pointwise and with as many channels."""

    def __init__(self, first: Sweepable, rest: Sweepable) -> None:
        super().__init__()
        self.first, self.rest = first, rest

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        count = 0 if frames_before(self, x, sweep) else 1
        return concat([self.first(x[:, :, :count], sweep), self.rest(x[:, :, count:], sweep)], T)
