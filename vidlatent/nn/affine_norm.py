"""Norms of a position with a scale and a shift per channel, which differ in where the statistics come from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.nn.pixel_norm import PixelNorm
from vidlatent.streaming import Pointwise


class AffinePixelNorm(PixelNorm):
    """`x / sqrt(mean over channels of x^2 + eps) * weight (+ bias)`."""

    def __init__(self, channels: int, *, bias: bool = True, eps: float = 1e-5) -> None:
        super().__init__(eps=eps)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def apply_to(self, x: Tensor) -> Tensor:
        return self.norm(x, self.weight, self.bias)


class BatchNorm(Pointwise):
    """`(x - running_mean) / sqrt(running_var + eps) * weight + bias`: the statistics are the training data's."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def apply_to(self, x: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.weight, self.bias, training=False, eps=self.eps)
