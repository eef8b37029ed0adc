"""The feed-forward half of a transformer block, a block of positions at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Pointwise

_POSITIONS = 4096
"""How many are widened together: what is between the layers is many times a clip's channels."""


class GatedMLP(Pointwise):
    """`narrow(a * silu(b))` of `a, b = widen(x)` (SwiGLU, arXiv:2002.05202), without biases; `hidden` channels each."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, 2 * hidden, bias=False)
        self.narrow = nn.Linear(hidden, channels, bias=False)

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1)
        positions = rows.reshape(-1, x.shape[1])
        if torch.is_grad_enabled() or len(positions) <= _POSITIONS:
            return self._mlp(rows).permute(0, 4, 1, 2, 3)
        out = torch.empty_like(positions)
        for given, answer in zip(positions.split(_POSITIONS), out.split(_POSITIONS), strict=True):
            answer.copy_(self._mlp(given))
            if x.is_meta:  # counting: the first block tells of all
                break
        return out.view(rows.shape).permute(0, 4, 1, 2, 3)

    def _mlp(self, rows: Tensor) -> Tensor:
        values, gates = self.widen(rows).chunk(2, -1)
        return self.narrow(values * F.silu(gates))
