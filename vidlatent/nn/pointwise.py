"""Operators that see one position at a time."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.streaming import Pointwise


class SiLU(Pointwise):
    """`x * sigmoid(x)`."""

    def apply_to(self, x: Tensor) -> Tensor:
        return F.silu(x)


class GELU(Pointwise):
    """Gaussian error linear unit; `approximate` as in `torch.nn.GELU`."""

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def apply_to(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate=self.approximate)


class Clamp(Pointwise):
    """Limit values to `[low, high]`."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.low, self.high = low, high

    def apply_to(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class Scale(Pointwise):
    """Multiply each channel by a fixed factor and add a fixed offset: `x * factor + offset`."""

    factor: Tensor
    offset: Tensor

    def __init__(self, factor: list[float], offset: list[float]) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(offset).view(-1, 1, 1, 1), persistent=False)

    def apply_to(self, x: Tensor) -> Tensor:
        return x * self.factor + self.offset
