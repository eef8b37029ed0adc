"""The figures of a table: what each is called, how it is written, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Column:
    """One figure. `better` is None where it depends on what one wants."""

    key: str
    title: str
    unit: str
    better: Literal["high", "low"] | None
    digits: int
    help: str

    def shown(self, value: float | None) -> str:
        """As text; an absent value is a dash, very small and very large ones keep two significant digits."""
        if value is None:
            return "\N{EN DASH}"
        if self.unit == "MiB":
            value /= _MEBIBYTE
        if value and (abs(value) < 0.5 * 10**-self.digits or abs(value) >= 1e7):
            return f"{value:.1e}"
        return f"{value:,.{self.digits}f}".replace("-", "\N{MINUS SIGN}")


COLUMNS = (
    Column("psnr", "PSNR", "dB", "high", 2, "Error over all 8-bit values of a clip; mean over clips"),
    Column("ssim", "SSIM", "", "high", 4, "Structural similarity, 11x11 Gaussian windows"),
    Column("ms_ssim", "MS-SSIM", "", "high", 4, "Structural similarity over five scales"),
    Column("perceptual", "Perceptual", "", "low", 4, "LPIPS, or a distance of Laplacian pyramids without weights"),
    Column("vmaf", "VMAF", "", "high", 1, "By ffmpeg's libvmaf"),
    Column("rfvd", "rFVD", "", "low", 2, "Frechet distance of video features between clips and reconstructions"),
    Column(
        "random_distance", "Random features", "", "low", 3, "Frechet distance of a random network's features: not FVD"
    ),
    Column("kernel_distance", "Kernel distance", "", "low", 4, "Polynomial-kernel MMD of the same features"),
    Column("flicker", "Flicker", "levels", "low", 2, "Mean change of the error from frame to frame"),
    Column("warped_error", "Warped error", "levels", "low", 2, "RMS change along the motion of the original"),
    Column("seam", "Seam", "x", "low", 2, "Change of the error at slab borders over that elsewhere; 1 is invisible"),
    Column("values_per_pixel", "Numbers per pixel", "", None, 4, "Latent numbers for each pixel of the video"),
    Column("int8_bits_per_pixel", "Bits, uncoded", "", "low", 3, "Latents as int8 before entropy coding, per pixel"),
    Column("rate_bits_per_pixel", "Bits per pixel", "", "low", 3, "Latents as entropy-coded int8; a codec's file"),
    Column("rate_psnr", "PSNR at these bits", "dB", "high", 2, "Decoded from the int8 latents; as it is for codecs"),
    Column("encode_fps", "Encode", "fps", "high", 1, "Frames per second, reading and a codec's search not counted"),
    Column("decode_fps", "Decode", "fps", "high", 1, "Frames per second, reading and measuring not counted"),
    Column("peak_bytes", "Peak memory", "MiB", "low", 0, "Highest of all clips, with reading, above that at the start"),
    Column("latent_effective_channels", "Effective channels", "", None, 1, "exp of the entropy of their eigenspectrum"),
    Column("round_trip_gap", "Round trip", "", "low", 3, "|E(D(z)) - z| relative to the spread of z"),
    Column("scale_error", "Scale equivariance", "", "low", 2, "|E(x/2) - E(x)/2|, relative"),
    Column(
        "shift_error", "Shift equivariance", "", "low", 2, "|E(shifted) - E shifted| for half a latent pixel, relative"
    ),
    Column(
        "probe_loss",
        "Diffusion loss",
        "",
        "low",
        3,
        "Of a tiny DiT on held-out latents; 1 is no better than a Gaussian",
    ),
    Column(
        "probe_sample_distance", "Sample distance", "", "low", 2, "Decoded samples to held-out clips, random features"
    ),
)


def better_of(column: Column, values: list[float | None]) -> float | None:
    """The best value of a column, None where no way is better or nothing is there."""
    present = [value for value in values if value is not None and math.isfinite(value)]
    if column.better is None or not present:
        return None
    return max(present) if column.better == "high" else min(present)


def columns_of(summary: Mapping[str, Any]) -> list[Column]:
    """The columns that an evaluation has figures for; the perceptual distance is called by its name."""
    records, name = summary["candidates"], summary["protocol"]["perceptual"]
    title = f"LPIPS ({name[6:]})" if name.startswith("lpips-") else "Laplacian distance"
    present = [column for column in COLUMNS if any(record.get(column.key) is not None for record in records)]
    return [replace(column, title=title) if column.key == "perceptual" else column for column in present]
