"""Peak signal-to-noise ratio and structural similarity of clips in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(got: Tensor, want: Tensor) -> float:
    """`10 log10(peak^2 / mean squared error)` in dB over whole clips of one shape in [-1, 1] (peak 2)."""
    error = (got.double() - want.double()).square().mean().clamp_min(1e-20)
    return float(10 * torch.log10(4.0 / error))
