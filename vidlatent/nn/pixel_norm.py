"""The norm of a position by its own mean square, without weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
        rows = x.permute(0, 2, 3, 4, 1)
        rows = _counted(rows, scale) if x.is_meta else F.rms_norm(rows, (x.shape[1],), scale, self.eps)
        rows = rows if shift is None else rows + shift
        rows = F.silu(rows, inplace=not torch.is_grad_enabled()) if self.silu else rows
        return rows.permute(0, 4, 1, 2, 3)


def _counted(rows: Tensor, scale: Tensor | None) -> Tensor:
    """What `rms_norm` holds beside `rows` (their squares, then the answer without its scale) and answers."""
    torch.empty_like(rows)
    normed = torch.empty_like(rows)
    return normed if scale is None else torch.empty_like(normed)
