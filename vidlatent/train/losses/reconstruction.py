"""How far a reconstruction is from its clip, in values, in sub-bands and in changes over time.

l1 = mean |x - y|,   charbonnier = mean sqrt((x - y)^2 + eps^2),   mse = mean (x - y)^2
wavelet = mean over sub-bands of mean |W x - W y|          (Haar; high bands are small, so each counts alike)
temporal = mean |(x_{t+1} - x_t) - (y_{t+1} - y_t)|
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.wavelet import haar_matrix


def l1(got: Tensor, want: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (got - want).abs().mean()


def mse(got: Tensor, want: Tensor) -> Tensor:
    """Mean squared difference."""
    return (got - want).square().mean()


def charbonnier(got: Tensor, want: Tensor, eps: float = 1e-3) -> Tensor:
    """The absolute difference, smooth at 0."""
    return ((got - want).square() + eps**2).sqrt().mean()


def temporal(got: Tensor, want: Tensor) -> Tensor:
    """Difference of the changes from frame to frame of clips (B, C, T, H, W); 0 for a single frame."""
    if got.shape[2] < 2:
        return got.new_zeros(())
    return (got.diff(dim=2) - want.diff(dim=2)).abs().mean()


def wavelet(got: Tensor, want: Tensor) -> Tensor:
    """Difference of the 8 Haar sub-bands of 2x2x2 blocks, 4 for a single frame; an odd last item is left away."""
    error = got - want
    t = 2 if error.shape[2] > 1 else 1
    matrix = haar_matrix((t, 2, 2)).to(error.dtype).to(error.device)
    kernel = matrix.view(-1, 1, t, 2, 2)
    bands = F.conv3d(error.flatten(0, 1)[:, None], kernel, stride=(t, 2, 2))
    return bands.abs().mean()


def psnr(got: Tensor, want: Tensor) -> Tensor:
    """Decibels of clips in [-1, 1], for logs."""
    return -10 * torch.log10((got.clamp(-1, 1) - want).square().mean().clamp_min(1e-10) / 4)
