r"""Averages over the weights of all steps.

    constant:  a_t = b_t a_{t-1} + (1 - b_t) w_t,   b_t = min(decay, (1 + t) / (10 + t))
    power:     b_t = (1 - 1/t)^(gamma + 1),         sigma = (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^(-1/2)

The power profile is that of Karras et al., arXiv:2312.02696: its width is a share of the run, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn

from vidlatent.train.settings import AverageConfig


@lru_cache
def power_gamma(length: float) -> float:
    """The exponent whose profile has the relative standard deviation `length`: the root of a cubic, by bisection."""
    low, high = 0.0, 1e6
    for _ in range(200):
        gamma = (low + high) / 2
        width = (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)
        low, high = (gamma, high) if width > length else (low, gamma)
    return (low + high) / 2


def decay_at(config: AverageConfig, step: int) -> float:
    """How much of the average stays at step `step`, counted from 1."""
    if config.profile == "constant":
        return min(config.decay, (1 + step) / (10 + step))
    return (1 - 1 / step) ** (power_gamma(config.length) + 1)


class Average:
    """The average of a module's weights; buffers are those of the last step."""

    def __init__(self, module: nn.Module, config: AverageConfig) -> None:
        self.config, self.step = config, 0
        self.weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        self.step += 1
        share = 1 - decay_at(self.config, self.step)
        for name, weight in module.named_parameters():
            self.weights[name].lerp_(weight, share)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside, `module` holds the average."""
        own = {name: weight.detach().clone() for name, weight in module.named_parameters()}
        _assign(module, self.weights)
        try:
            yield
        finally:
            _assign(module, own)


@torch.no_grad()
def _assign(module: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, weight in module.named_parameters():
        weight.copy_(weights[name])
