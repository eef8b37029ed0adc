"""How much of a branch counts, learned or asked of other channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Pointwise


class Gate(Pointwise):
    """`x * sigmoid(mix_factor)`: one learned number for all channels and positions; a half at first."""

    def __init__(self) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.empty(1))
        nn.init.zeros_(self.mix_factor)

    def apply_to(self, x: Tensor) -> Tensor:
        return x * self.mix_factor.sigmoid()


class GatedSiLU(Pointwise):
    """The first half of the channels times the SiLU of the second."""

    def apply_to(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, 1)
        opened = F.silu(gates)
        return opened * values if torch.is_grad_enabled() else opened.mul_(values)
