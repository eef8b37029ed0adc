"""Attention without scores: what a frame says is summed once, then asked by every position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.streaming import Barrier, H


class LinearAttention(Barrier):
    """ReLU attention among the positions of a frame, `V relu(K)^T relu(Q) / (1 relu(K)^T relu(Q))` (arXiv:2205.14756).

    A barrier along H of which only `(head_dim + 1) x head_dim` sums per head and frame are noted. Channels come in
    heads of `head_dim` queries, keys and values each, and leave as values. Sums are taken in float32 at least.
    """

    def __init__(self, head_dim: int, *, eps: float = 1e-15) -> None:
        super().__init__(H)
        self.head_dim, self.eps = head_dim, eps

    def note(self, x: Tensor) -> list[Tensor]:
        """Sums over positions of values times keys, and of keys: `(B, T, heads, head_dim + 1, head_dim)`."""
        _, keys, values = self._heads(x)
        ones = F.pad(values, (0, 1), value=1.0)
        return [ones.transpose(-1, -2) @ keys]

    def merge(self, notes: list[list[Tensor]], axis: int) -> list[Tensor]:  # noqa: ARG002
        return [torch.stack([note[0] for note in notes]).sum(0)]

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        b, _, t, h, w = x.shape
        queries, _, _ = self._heads(x)
        sums = queries @ summary[0].transpose(-1, -2)
        values = sums[..., :-1] / (sums[..., -1:] + self.eps)
        rows = values.transpose(2, 3).reshape(b, t, h, w, -1)
        return rows.to(x.dtype).permute(0, 4, 1, 2, 3)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each `(B, T, heads, positions, head_dim)`."""
        rows = x.permute(0, 2, 3, 4, 1).flatten(2, 3)
        rows = rows.float() if x.dtype in (torch.float16, torch.bfloat16) else rows
        queries, keys, values = rows.unflatten(-1, (-1, 3, self.head_dim)).permute(4, 0, 1, 3, 2, 5)
        return F.relu(queries), F.relu(keys), values
