"""Structural similarity of clips in [-1, 1].

At each pixel of each channel, with Gaussian-weighted local moments of both pictures,

    SSIM = l * cs,   l = (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1),   cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2)

C_i = (K_i L)^2, L = 2 the range, black at 0, K = (0.01, 0.03), the window 11x11 with sigma 1.5 (Wang et al. 2004,
doi:10.1109/TIP.2003.819861). Averaged over the pixels whose window lies within the picture, this is scikit-image's
`structural_similarity` with `gaussian_weights=True, use_sample_covariance=False`, which weights channels equally.
MS-SSIM is prod_j cs_j^b_j * l_M^b_M of means over five scales, each half as large as the one before (Wang et al. 2003,
doi:10.1109/ACSSC.2003.1292216); torchmetrics also counts a reflected border at the last one, some 1e-4 apart.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vidlatent.errors import InputError
from vidlatent.metrics.accumulator import Accumulator, check_clips
from vidlatent.metrics.quality import RANGE

_C1, _C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
_WINDOW, _SIGMA = 11, 1.5
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST_FOR_SSIM = _WINDOW
SMALLEST_FOR_MS_SSIM = (_WINDOW - 1) * 2 ** (len(_EXPONENTS) - 1) + 1


def ssim(got: Tensor, want: Tensor) -> float:
    """SSIM of clips (B, C, T, H, W) in [-1, 1], the mean of `frame_ssim`; 1 where equal."""
    return float(frame_ssim(got, want).mean())


def ms_ssim(got: Tensor, want: Tensor) -> float:
    """MS-SSIM of clips (B, C, T, H, W) in [-1, 1], the mean of `frame_ms_ssim`; 1 where equal."""
    return float(frame_ms_ssim(got, want).mean())


def frame_ssim(got: Tensor, want: Tensor) -> Tensor:
    """SSIM of each frame of clips (B, C, T, H, W): (B, T). Raises `InputError` for frames smaller than 11x11."""
    _check_size(got, want, SMALLEST_FOR_SSIM, "SSIM")
    frames = zip(got.unbind(2), want.unbind(2), strict=True)
    # One frame at a time: moments take five times the memory of a picture.
    return torch.stack([_similarity(x, y)[0] for x, y in frames], 1)


def frame_ms_ssim(got: Tensor, want: Tensor) -> Tensor:
    """MS-SSIM of each frame of clips (B, C, T, H, W): (B, T). Raises `InputError` for frames smaller than 161x161."""
    _check_size(got, want, SMALLEST_FOR_MS_SSIM, "MS-SSIM")
    return torch.stack([_multiscale(x, y) for x, y in zip(got.unbind(2), want.unbind(2), strict=True)], 1)


def _multiscale(x: Tensor, y: Tensor) -> Tensor:
    product = torch.ones(len(x), dtype=torch.double, device=x.device)
    for level, exponent in enumerate(_EXPONENTS):
        whole, contrast = _similarity(x, y)
        last = level == len(_EXPONENTS) - 1
        product = product * (whole if last else contrast).clamp_min(0) ** exponent
        if not last:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return product


def _similarity(got: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B,) of SSIM and of its contrast-structure factor, of pictures (B, C, H, W)."""
    x, y = (picture.to(torch.float32) for picture in (got, want))
    mean_x, mean_y, xx, yy, xy = (_blur(signal) for signal in (x, y, x * x, y * y, x * y))
    covariance = xy - mean_x * mean_y
    variances = (xx - mean_x * mean_x) + (yy - mean_y * mean_y)
    # Only brightness needs black to be 0; variances are more exact about grey.
    x, y = mean_x + 1, mean_y + 1
    luminance = (2 * x * y + _C1) / (x * x + y * y + _C1)
    contrast = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * contrast).double().mean((1, 2, 3)), contrast.double().mean((1, 2, 3))


def _blur(pictures: Tensor) -> Tensor:
    """Gaussian means of pictures (..., H, W) wherever the whole window fits: rows, then columns."""
    offsets = torch.arange(_WINDOW, dtype=torch.double) - _WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    for axis in (-2, -1):
        # Shifted sums: on a CPU many times faster than convolutions of one channel.
        length = pictures.shape[axis] - _WINDOW + 1
        total = torch.zeros_like(pictures.narrow(axis, 0, length))
        for shift, weight in enumerate((weights / weights.sum()).tolist()):
            total.add_(pictures.narrow(axis, shift, length), alpha=weight)
        pictures = total
    return pictures


def _check_size(got: Tensor, want: Tensor, smallest: int, name: str) -> None:
    check_clips(got, want)
    if min(got.shape[3:]) < smallest:
        given = tuple(got.shape[3:])
        raise InputError(f"{name} needs frames of {smallest}x{smallest} pixels or more, these are {given}")


class SSIM(Accumulator):
    """SSIM of clips that come in slabs: `update` with each, `compute` at any time."""

    _frames = staticmethod(frame_ssim)

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the values of their frames (B, T)."""
        frames = self._frames(got, want)
        self._add("sum", float(frames.sum()))
        self._add("frames", frames.numel())
        return frames

    def compute(self) -> float:
        """Mean over all frames so far. Raises `InputError` if there are none."""
        return self._mean("sum", "frames")


class MSSSIM(SSIM):
    """MS-SSIM of clips that come in slabs: `update` with each, `compute` at any time."""

    _frames = staticmethod(frame_ms_ssim)
