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
from vidlatent.metrics.bands import bands
from vidlatent.metrics.quality import RANGE

_C1, _C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
_WINDOW, _SIGMA = 11, 1.5
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST_FOR_SSIM = _WINDOW
SMALLEST_FOR_MS_SSIM = _WINDOW * 2 ** (len(_EXPONENTS) - 1)


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
    """MS-SSIM of each frame of clips (B, C, T, H, W): (B, T). Raises `InputError` for frames smaller than 176x176."""
    return _both(got, want)[1]


def _both(got: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and MS-SSIM of each frame: the first is the finest scale of the second."""
    _check_size(got, want, SMALLEST_FOR_MS_SSIM, "MS-SSIM")
    pairs = [_multiscale(x, y) for x, y in zip(got.unbind(2), want.unbind(2), strict=True)]
    finest, product = zip(*pairs, strict=True)
    return torch.stack(finest, 1), torch.stack(product, 1)


def _multiscale(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    scales = [_similarity(x, y)]
    for _ in _EXPONENTS[1:]:
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        scales.append(_similarity(x, y))
    factors = [*(contrast for _, contrast in scales[:-1]), scales[-1][0]]
    powers = [factor.clamp_min(0) ** exponent for factor, exponent in zip(factors, _EXPONENTS, strict=True)]
    return scales[0][0], torch.stack(powers).prod(0)


def _similarity(got: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B,) of SSIM and of its contrast-structure factor, of pictures (B, C, H, W)."""
    height, more = got.shape[2] - _WINDOW + 1, _WINDOW - 1
    whole, contrast = (torch.zeros(len(got), dtype=torch.double, device=got.device) for _ in range(2))
    for band in bands(height, got[:, :, 0].numel()):
        rows = slice(band.start, band.stop + more)
        parts = _band_similarity(got[:, :, rows], want[:, :, rows])
        whole, contrast = (total + part for total, part in zip((whole, contrast), parts, strict=True))
    count = got.shape[1] * height * (got.shape[3] - more)
    return whole / count, contrast / count


def _band_similarity(got: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (B,) over a band of pictures."""
    x, y = (picture.to(torch.float32) for picture in (got, want))
    mean_x, mean_y, xx, yy, xy = (_blur(signal) for signal in (x, y, x * x, y * y, x * y))
    covariance = xy - mean_x * mean_y
    variances = (xx - mean_x * mean_x) + (yy - mean_y * mean_y)
    # Only brightness needs black to be 0; variances are more exact about grey.
    x, y = mean_x + 1, mean_y + 1
    luminance = (2 * x * y + _C1) / (x * x + y * y + _C1)
    contrast = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * contrast).double().sum((1, 2, 3)), contrast.double().sum((1, 2, 3))


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

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the values of their frames (B, T)."""
        frames = frame_ssim(got, want)
        self._add("sum", float(frames.sum()))
        self._add("frames", frames.numel())
        return frames

    def compute(self) -> float:
        """Mean over all frames so far. Raises `InputError` if there are none."""
        return self._mean("sum", "frames")


class MSSSIM(Accumulator):
    """MS-SSIM of clips that come in slabs: `update` with each, `compute` at any time.

    The finest of its scales is SSIM, `finest()`: who wants both measures once.
    """

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the values of their frames (B, T)."""
        finest, frames = _both(got, want)
        self._add("finest", float(finest.sum()))
        self._add("sum", float(frames.sum()))
        self._add("frames", frames.numel())
        return frames

    def compute(self) -> float:
        """Mean over all frames so far. Raises `InputError` if there are none."""
        return self._mean("sum", "frames")

    def finest(self) -> float:
        """SSIM: the mean over all frames so far. Raises `InputError` if there are none."""
        return self._mean("finest", "frames")
