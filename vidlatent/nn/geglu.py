"""A gated activation, and a step that leaves nothing of what is small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Pointwise


class GatedGELU(Pointwise):
    """The first half of the channels times the GELU of the second (arXiv:2002.05202)."""

    def apply_to(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, 1)
        return values * F.gelu(gates)


class SoftThreshold(Pointwise):
    """`sign(x) * max(|x| - threshold, 0)`: one learned number, 0.01 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.empty(1))
        nn.init.constant_(self.threshold, 0.01)

    def apply_to(self, x: Tensor) -> Tensor:
        return x.sign() * F.relu(x.abs() - self.threshold)
