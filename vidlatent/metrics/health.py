"""Is a latent space good to diffuse in? Channel statistics, spectra, equivariance and the gap of a round trip."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidlatent.errors import InputError
from vidlatent.metrics.accumulator import Accumulator

Map = Callable[[Tensor], Tensor]


class LatentStatistics(Accumulator):
    """Moments of each channel and the covariance between channels, of latents that come in pieces."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels=channels)

    def update(self, latents: Tensor) -> None:
        """Take in latents (B, C, t, h, w)."""
        if latents.ndim != 5 or latents.shape[1] != self.settings["channels"]:
            raise InputError(f"expected latents (B, {self.settings['channels']}, t, h, w), got {tuple(latents.shape)}")
        rows = latents.detach().double().transpose(0, 1).flatten(1).cpu()
        self._add("count", rows.shape[1])
        self._add("products", rows @ rows.T)
        for power in (1, 3, 4):
            self._add(f"power{power}", rows.pow(power).sum(1))

    def compute(self) -> dict[str, Any]:
        """Lists over channels, `mean`, `std` and `kurtosis` (3 for a Gaussian), and what their covariance says.

        `eigenvalues` fall and are shares of their sum; `effective_channels` is exp of the entropy of these shares.
        """
        count = self.sums.get("count", 0)
        if not count:
            raise InputError("nothing was measured yet: update() with latents first")
        first, third, fourth = (self.sums[f"power{power}"] / count for power in (1, 3, 4))
        second = self.sums["products"].diagonal() / count
        variance = (second - first**2).clamp_min(1e-24)
        central = fourth - 4 * third * first + 6 * second * first**2 - 3 * first**4
        covariance = self.sums["products"] / count - first.outer(first)
        values = torch.linalg.eigvalsh(covariance).flip(0).clamp_min(0)
        shares = values / values.sum().clamp_min(1e-24)
        return {
            "mean": first.tolist(),
            "std": variance.sqrt().tolist(),
            "kurtosis": (central / variance**2).tolist(),
            "eigenvalues": shares.tolist(),
            "effective_channels": math.exp(float(torch.special.entr(shares).sum())),
        }


class Spectrum(Accumulator):
    """Power of frames at each spatial frequency, by the discrete cosine transform, as shares of the variance.

    Latents whose high frequencies carry far more of it than RGB's do are hard to diffuse in (arXiv:2502.14831).
    """

    def __init__(self, bins: int = 24) -> None:
        super().__init__(bins=bins)
        self.sums = {"power": torch.zeros(bins, dtype=torch.double), "count": torch.zeros(bins, dtype=torch.double)}

    def update(self, frames: Tensor) -> None:
        """Take in frames or latents (B, C, T, H, W); every channel counts equally, whatever its scale."""
        H, W = frames.shape[3:]
        planes = frames.detach().double()
        planes = planes / planes.std((0, 2, 3, 4), keepdim=True, correction=0).clamp_min(1e-12)
        coefficients = _dct(_dct(planes.cpu()).mT).mT.square().mean((0, 1, 2))
        across, down = torch.arange(W) / W, torch.arange(H) / H
        radius = (down[:, None] ** 2 + across**2).sqrt() / math.sqrt(2)
        radius[0, 0] = -1  # the mean is no frequency
        bins = (radius * self.settings["bins"]).long().clamp_max(self.settings["bins"] - 1)
        inside, weight = radius >= 0, frames.shape[0] * frames.shape[2]
        self.sums["power"].index_add_(0, bins[inside], coefficients[inside] * weight)
        self.sums["count"].index_add_(0, bins[inside], torch.full((int(inside.sum()),), float(weight)).double())

    def compute(self) -> list[float | None]:
        """Mean power of a coefficient in each band, from low to high frequencies; None where the frames have none."""
        pairs = zip(self.sums["power"].tolist(), self.sums["count"].tolist(), strict=True)
        return [power / count if count else None for power, count in pairs]

    def high_share(self) -> float:
        """Share of the power in the upper half of the frequencies."""
        power = self.sums["power"]
        if not power.sum():
            raise InputError("nothing was measured yet: update() with frames that are not constant first")
        return float(power[len(power) // 2 :].sum() / power.sum())


def _dct(signal: Tensor) -> Tensor:
    """The orthonormal DCT-II along the last axis: a Fourier transform of the even places, then the odd ones backwards.

    Makhoul 1980 (doi:10.1109/TASSP.1980.1163351); a matrix of cosines would take a minute for a second of 4K.
    """
    size = signal.shape[-1]
    places = torch.arange(size)
    half = torch.fft.rfft(signal[..., torch.cat([places[::2], places[1::2].flip(0)])])
    half = half * torch.exp(-1j * math.pi * places[: size // 2 + 1].to(signal.dtype) / (2 * size))
    rest = half.imag[..., 1 : (size + 1) // 2].flip(-1)
    coefficients = torch.cat([half.real, -rest], -1) * math.sqrt(2 / size)
    coefficients[..., 0] /= math.sqrt(2)
    return coefficients


def scale_error(encode: Map, video: Tensor) -> float:
    """|E(x/2) - E(x)/2| relative to the spread of E(x)/2, where /2 halves rows and columns: 0 is equivariant."""
    return relative(encode(_halved(video)), _halved(encode(video)))


def shift_error(encode: Map, video: Tensor, stride: int) -> float:
    """|E(x shifted) - E(x) shifted|, relative, for a shift of half a latent pixel along W: 0 is equivariant."""
    step, latents = max(1, stride // 2), encode(video)
    part = step / stride
    moved = encode(video[..., step:])
    want = latents[..., :-1] * (1 - part) + latents[..., 1:] * part
    width = min(moved.shape[-1], want.shape[-1])
    return relative(moved[..., :width], want[..., :width])


def round_trip_gap(encode: Map, decode: Map, latents: Tensor) -> float:
    """|E(D(z)) - z| relative to the spread of z: how far from its own codes a decoder's output is encoded."""
    return relative(encode(decode(latents)), latents)


def relative(got: Tensor, want: Tensor) -> float:
    """RMS difference over the standard deviation of `want` within its channels."""
    size = [slice(0, min(a, b)) for a, b in zip(got.shape, want.shape, strict=True)]
    got, want = got[tuple(size)].double(), want[tuple(size)].double()
    spread = want - want.mean((0, 2, 3, 4), keepdim=True)
    return float((got - want).square().mean().sqrt() / spread.square().mean().sqrt().clamp_min(1e-12))


def _halved(clip: Tensor) -> Tensor:
    frames = clip.transpose(1, 2).flatten(0, 1)
    size = [max(1, side // 2) for side in clip.shape[3:]]
    small = interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    return small.unflatten(0, (len(clip), clip.shape[2])).transpose(1, 2)
