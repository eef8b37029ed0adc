"""Two branches in a learned proportion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidlatent.nn.combine import branch
from vidlatent.streaming import Sweep, Sweepable


class Mix(Sweepable):
    """`a * first(x) + (1 - a) * second(x)` with `a = sigmoid(mix_factor)`, one learned number, 2 at first."""

    def __init__(self, first: Sweepable, second: Sweepable) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.mix_factor = nn.Parameter(torch.empty(1))
        nn.init.constant_(self.mix_factor, 2.0)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        first, second = branch(self, [self.first, self.second], x, sweep)
        return first if sweep and sweep.passes(first) else torch.lerp(second, first, self.mix_factor.sigmoid())
