"""The norm of a position by its own mean square, without weights."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.blocks import finish_, in_blocks
from vidlatent.streaming import Pointwise


class PixelNorm(Pointwise):
    """`x / sqrt(mean over channels of x^2 + eps)`; `silu` applies the activation that follows."""

    def __init__(self, *, silu: bool = False, eps: float = 1e-8) -> None:
        super().__init__()
        self.silu, self.eps = silu, eps

    def apply_to(self, x: Tensor) -> Tensor:
        return self.norm(x, None, None)

    def norm(self, x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """The normalised `x` times `scale` plus `shift`, each (C,) or None for one and zero."""
        if torch.is_grad_enabled() or x.is_cuda or x.dtype not in (torch.float32, torch.float64):
            rows = F.rms_norm(x.permute(0, 2, 3, 4, 1), (x.shape[1],), scale, self.eps)
            rows = rows if shift is None else rows + shift
            rows = F.silu(rows, inplace=not torch.is_grad_enabled()) if self.silu else rows
            return rows.permute(0, 4, 1, 2, 3)
        return in_blocks(x, partial(self._norm_into, scale, shift))

    def _norm_into(self, scale: Tensor | None, shift: Tensor | None, rows: Tensor, out: Tensor) -> None:
        """The same on one block; torch's own, on CPUs, makes three passes over the whole clip, two of them kept."""
        mean_square = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).square_().div_(rows.shape[-1])
        torch.mul(rows, mean_square.add_(self.eps).rsqrt_(), out=out)
        finish_(out, scale, shift, silu=self.silu)
