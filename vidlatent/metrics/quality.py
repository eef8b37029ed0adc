"""Peak signal-to-noise ratio and structural similarity of clips in [-1, 1].

PSNR = 10 log10(L^2 / mse) and, at each pixel of each channel, with Gaussian-weighted local moments of both pictures,

    SSIM = (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2)),   C_i = (K_i L)^2

L = 2 is the range, K = (0.01, 0.03), the window 11x11 with sigma 1.5 (Wang et al. 2004, doi:10.1109/TIP.2003.819861).
Averaged over the pixels whose window lies within the picture, this is scikit-image's `structural_similarity` with
`gaussian_weights=True, use_sample_covariance=False`, which weights channels equally.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.errors import InputError

_RANGE = 2.0
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
_WINDOW, _SIGMA = 11, 1.5
_SMALLEST_ERROR = 1e-20


def psnr(got: Tensor, want: Tensor) -> float:
    """PSNR in dB of whole clips of one shape in [-1, 1], from the error over all of their values; 206 where equal."""
    return _decibels(float((got.double() - want.double()).square().mean()))


def frame_psnr(got: Tensor, want: Tensor) -> Tensor:
    """PSNR in dB of each frame of clips (B, 3, T, H, W): (B, T)."""
    _check(got, want)
    return 10 * torch.log10(_RANGE**2 / _frame_errors(got, want).clamp_min(_SMALLEST_ERROR))


def _frame_errors(got: Tensor, want: Tensor) -> Tensor:
    """Mean squared error (B, T) in float64, a frame at a time so that no second clip of doubles is held."""
    pairs = zip(got.unbind(2), want.unbind(2), strict=True)
    return torch.stack([(x.double() - y.double()).square().mean((1, 2, 3)) for x, y in pairs], 1)


def ssim(got: Tensor, want: Tensor) -> float:
    """SSIM of clips (B, C, T, H, W) in [-1, 1], the mean of `frame_ssim`; 1 where equal."""
    return float(frame_ssim(got, want).mean())


def frame_ssim(got: Tensor, want: Tensor) -> Tensor:
    """SSIM of each frame of clips (B, C, T, H, W): (B, T). Raises `InputError` for frames smaller than 11x11."""
    _check(got, want)
    if min(got.shape[3:]) < _WINDOW:
        raise InputError(f"SSIM needs frames of {_WINDOW}x{_WINDOW} pixels or more, these are {tuple(got.shape[3:])}")
    return torch.stack([_ssim_of_frame(got[:, :, t], want[:, :, t]) for t in range(got.shape[2])], 1)


def _ssim_of_frame(got: Tensor, want: Tensor) -> Tensor:
    """SSIM (B,) of pictures (B, C, H, W), one frame at a time: moments take five times the memory of a picture."""
    x, y = (picture.to(torch.float32) for picture in (got, want))
    mean_x, mean_y, xx, yy, xy = (_blur(signal) for signal in (x, y, x * x, y * y, x * y))
    covariance = xy - mean_x * mean_y
    variances = (xx - mean_x * mean_x) + (yy - mean_y * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    similarity = luminance * (2 * covariance + _C2) / (variances + _C2)
    return similarity.double().mean((1, 2, 3))


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


class PSNR:
    """PSNR of a clip that comes in slabs: `update` with each, `compute` at any time.

    `compute()` takes the error over all values, as `psnr` of the whole clip; `mean_over_frames()` averages the frames'
    decibels, which is what papers on video mostly print.
    """

    def __init__(self) -> None:
        self._squares = self._decibels = 0.0
        self._values = self._frames = 0

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the PSNR of their frames (B, T)."""
        _check(got, want)
        errors = _frame_errors(got, want)
        frames = 10 * torch.log10(_RANGE**2 / errors.clamp_min(_SMALLEST_ERROR))
        self._squares += float(errors.sum()) * got[0, :, 0].numel()
        self._values += got.numel()
        self._decibels += float(frames.sum())
        self._frames += frames.numel()
        return frames

    def compute(self) -> float:
        """PSNR in dB of everything so far. Raises `InputError` if that is nothing."""
        return _decibels(self._squares / _some(self._values))

    def mean_over_frames(self) -> float:
        """Mean of the frames' PSNR in dB."""
        return self._decibels / _some(self._frames)


class SSIM:
    """SSIM of a clip that comes in slabs: `update` with each, `compute` at any time."""

    def __init__(self) -> None:
        self._sum, self._frames = 0.0, 0

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the SSIM of their frames (B, T)."""
        frames = frame_ssim(got, want)
        self._sum += float(frames.sum())
        self._frames += frames.numel()
        return frames

    def compute(self) -> float:
        """Mean over all frames so far. Raises `InputError` if there are none."""
        return self._sum / _some(self._frames)


def _decibels(mean_squared_error: float) -> float:
    error = torch.tensor(max(mean_squared_error, _SMALLEST_ERROR), dtype=torch.double)
    return float(10 * torch.log10(_RANGE**2 / error))


def _some(count: int) -> int:
    if not count:
        raise InputError("nothing was measured yet: update() with at least one frame first")
    return count


def _check(got: Tensor, want: Tensor) -> None:
    if got.shape != want.shape or got.ndim != 5:
        raise InputError(f"expected clips (B, C, T, H, W) of one shape, got {tuple(got.shape)}, {tuple(want.shape)}")
