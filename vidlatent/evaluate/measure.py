"""One clip through one candidate: the row of figures, with its curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidlatent import metrics
from vidlatent.evaluate.candidate import Candidate, Code, Grid, Shape
from vidlatent.evaluate.frames import side_by_side
from vidlatent.evaluate.meters import Meter
from vidlatent.io import to_float
from vidlatent.metrics.structure import SMALLEST_FOR_MS_SSIM, SMALLEST_FOR_SSIM

Read = Callable[[], Iterator[Tensor]]
OnPair = Callable[[Tensor, Tensor], None]
_SPECTRUM_STEP = 8
_INT8_BITS = 8


class Quality:
    """Everything that is measured on frames beside frames, from runs of both, uint8 (T, H, W, 3)."""

    def __init__(
        self,
        size: tuple[int, int],
        grid: Grid | None,
        distance: metrics.PerceptualDistance,
        motion: metrics.Motion | None = None,
    ) -> None:
        self._psnr, self._flicker, self._warped = metrics.PSNR(), metrics.Flicker(), metrics.WarpedError(motion)
        self._ms_ssim = metrics.MSSSIM() if min(size) >= SMALLEST_FOR_MS_SSIM else None
        self._ssim = metrics.SSIM() if not self._ms_ssim and min(size) >= SMALLEST_FOR_SSIM else None
        self._perceptual = metrics.LPIPS(distance) if min(size) >= 32 else None
        self._group = metrics.GroupPSNR(grid.group, grid.first_frame) if grid else None
        cut = grid is not None and any(grid.borders)
        self._seams = (
            metrics.Seams(grid.borders, grain=grid.grain, first_frames=grid.first_frames) if grid and cut else None
        )
        self._spectra = metrics.Spectrum(), metrics.Spectrum()
        self._frame_psnr: list[float] = []

    def add(self, got_frames: Tensor, want_frames: Tensor) -> None:
        """Take in the next frames."""
        got, want = to_float(got_frames), to_float(want_frames)
        first = len(self._frame_psnr)
        self._frame_psnr += self._psnr.update(got, want).flatten().tolist()
        for measure in (self._ssim, self._ms_ssim, self._perceptual, self._group, self._seams):
            if measure is not None:
                measure.update(got, want)
        self._flicker.update(got, want)
        self._warped.update(got, want)
        if chosen := [index for index in range(got.shape[2]) if (first + index) % _SPECTRUM_STEP == 0]:
            for spectrum, clip in zip(self._spectra, (got, want), strict=True):
                spectrum.update(clip[:, :, chosen])

    def figures(self) -> dict[str, Any]:
        """The row's part: None for what these frames are too small or too few for."""
        moving = len(self._frame_psnr) > 1
        return {
            "psnr": self._psnr.compute(),
            "psnr_mean_over_frames": self._psnr.mean_over_frames(),
            "ssim": self._ms_ssim.finest() if self._ms_ssim else self._ssim and self._ssim.compute(),
            "ms_ssim": self._ms_ssim and self._ms_ssim.compute(),
            "perceptual": self._perceptual and self._perceptual.compute(),
            "flicker": self._flicker.compute() if moving else None,
            "warped_error": self._warped.compute() if moving else None,
            "warped_error_of_original": self._warped.reference() if moving else None,
            "seam": self._seams and self._seams.compute(),
            "frame_psnr": self._frame_psnr,
            "group_psnr": self._group and self._group.compute(),
            "spectrum": self._spectra[0].compute(),
            "spectrum_of_original": self._spectra[1].compute(),
        }


def measure_clip(
    candidate: Candidate,
    read: Read,
    shape: Shape,
    *,
    distance: metrics.PerceptualDistance,
    on_pair: OnPair,
    motion: metrics.Motion | None = None,
) -> tuple[dict[str, Any], Code]:
    """Code a clip, decode it and compare, in slabs; `on_pair` sees every run of frames, reconstruction first."""
    coding, decoding = Meter(), Meter()
    code = coding.call(partial(candidate.encode, coding.outside(read()), shape))
    quality = Quality((shape.height, shape.width), candidate.grid, distance, motion)
    for got, want in side_by_side(decoding.each(candidate.decode(code)), read()):
        quality.add(got, want)
        on_pair(got, want)
    peaks = [meter.peak_bytes for meter in (coding, decoding) if meter.peak_bytes is not None]
    row = quality.figures() | {
        "values_per_pixel": code.values / shape.pixels,
        "bits_per_pixel": code.bits / shape.pixels,
        "encode_fps": shape.frames / max(code.seconds or coding.seconds, 1e-9),
        "decode_fps": shape.frames / max(decoding.seconds, 1e-9),
        "peak_bytes": max(peaks) if peaks else None,
        "note": code.note,
    }
    return row | _rate(candidate, code, read, row) | _latents(code.latents), code


def _rate(candidate: Candidate, code: Code, read: Read, row: dict[str, Any]) -> dict[str, Any]:
    """Bits and PSNR that belong together: latents as entropy-coded int8 and decoded from these; others as they are."""
    if code.latents is None:
        return {"rate_bits_per_pixel": row["bits_per_pixel"], "rate_psnr": row["psnr"]}
    mean, std = _statistics(candidate.grid, code.latents)
    codes = metrics.int8_codes(code.latents, mean, std)
    entropy = metrics.CodeEntropy(-128, 127, codes.shape[1])
    entropy.update(codes)
    signal = metrics.PSNR()
    again = candidate.decode(replace(code, latents=metrics.from_int8_codes(codes, mean, std)))
    for got, want in side_by_side(again, read()):
        signal.update(to_float(got), to_float(want))
    return {
        "int8_bits_per_pixel": code.values * _INT8_BITS / code.shape.pixels,
        "rate_bits_per_pixel": entropy.compute() / code.shape.pixels,
        "rate_psnr": signal.compute(),
    }


def _statistics(grid: Grid | None, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel, of the autoencoder where it has them, else of this clip."""
    if grid is not None and grid.mean and grid.std:
        return torch.tensor(grid.mean), torch.tensor(grid.std)
    return latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4), correction=0)


def _latents(latents: Tensor | None) -> dict[str, Any]:
    if latents is None:
        return {}
    statistics, spectrum = metrics.LatentStatistics(latents.shape[1]), metrics.Spectrum()
    statistics.update(latents)
    spectrum.update(latents)
    found = {f"latent_{name}": value for name, value in statistics.compute().items()}
    return found | {"latent_spectrum": spectrum.compute(), "latent_high_share": spectrum.high_share()}
