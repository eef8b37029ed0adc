"""Activations that only small autoencoders use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.streaming import Pointwise


class ReLU(Pointwise):
    """`max(x, 0)`."""

    def apply_to(self, x: Tensor) -> Tensor:
        return F.relu(x)


class SoftClamp(Pointwise):
    """`limit * tanh(x / limit)`: close to x near zero, never beyond the limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def apply_to(self, x: Tensor) -> Tensor:
        return torch.tanh(x / self.limit) * self.limit
