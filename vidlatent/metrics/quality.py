"""Peak signal-to-noise ratio of clips in [-1, 1]: PSNR = 10 log10(L^2 / mse), L = 2 the range."""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.metrics.accumulator import Accumulator, check_clips
from vidlatent.metrics.bands import bands

RANGE = 2.0
SMALLEST_ERROR = 1e-20


def psnr(got: Tensor, want: Tensor) -> float:
    """PSNR in dB of whole clips of one shape in [-1, 1], from the error over all of their values; 206 where equal."""
    return decibels(float((got.double() - want.double()).square().mean()))


def frame_psnr(got: Tensor, want: Tensor) -> Tensor:
    """PSNR in dB of each frame of clips (B, 3, T, H, W): (B, T)."""
    check_clips(got, want)
    return 10 * torch.log10(RANGE**2 / frame_errors(got, want).clamp_min(SMALLEST_ERROR))


def frame_errors(got: Tensor, want: Tensor) -> Tensor:
    """Mean squared error (B, T) in float64, a band at a time so that no second clip of doubles is held."""
    pairs = zip(got.unbind(2), want.unbind(2), strict=True)
    return torch.stack([_squared_error(x, y) for x, y in pairs], 1) / got[0, :, 0].numel()


def _squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Of pictures (B, C, H, W), summed to (B,)."""
    rows = bands(x.shape[2], x[:, :, 0].numel())
    parts = [(x[:, :, band].double() - y[:, :, band].double()).square().sum((1, 2, 3)) for band in rows]
    return torch.stack(parts).sum(0)


def decibels(mean_squared_error: float) -> float:
    """PSNR in dB of a mean squared error on the scale of [-1, 1]."""
    error = torch.tensor(max(mean_squared_error, SMALLEST_ERROR), dtype=torch.double)
    return float(10 * torch.log10(RANGE**2 / error))


class PSNR(Accumulator):
    """PSNR of a clip that comes in slabs: `update` with each, `compute` at any time.

    `compute()` takes the error over all values, as `psnr` of the whole clip; `mean_over_frames()` averages the frames'
    decibels, which is what papers on video mostly print.
    """

    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, C, T, H, W) in [-1, 1] and return the PSNR of their frames (B, T)."""
        check_clips(got, want)
        errors = frame_errors(got, want)
        frames = 10 * torch.log10(RANGE**2 / errors.clamp_min(SMALLEST_ERROR))
        self._add("squares", float(errors.sum()) * got[0, :, 0].numel())
        self._add("values", got.numel())
        self._add("decibels", float(frames.sum()))
        self._add("frames", frames.numel())
        return frames

    def compute(self) -> float:
        """PSNR in dB of everything so far. Raises `InputError` if that is nothing."""
        return decibels(self._mean("squares", "values"))

    def mean_over_frames(self) -> float:
        """Mean of the frames' PSNR in dB."""
        return self._mean("decibels", "frames")
