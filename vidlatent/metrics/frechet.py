"""Distances between sets of clips in the feature space of a video classifier: FVD, and a kernel distance.

    Frechet  |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))           (Unterthiner et al. 2018, arXiv:1812.01717)
    kernel   E k(x, x') + E k(y, y') - 2 E k(x, y),  k(x, y) = (x.y / d + 1)^3, unbiased  (arXiv:1801.01401)

The kernel distance needs far fewer clips and no Gaussian assumption. Between clips and their reconstructions either is
called rFVD. Which features were used is part of the number: `extractor.name`.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.metrics.accumulator import Accumulator

Distance = Literal["frechet", "kernel"]


class Extractor(Protocol):
    """Turns clips into features; `num_frames` is how long a clip it takes."""

    name: str
    num_frames: int

    def __call__(self, video: Tensor) -> Tensor:
        """Features (B, d) of clips (B, 3, num_frames, H, W) in [-1, 1]."""
        ...


def fvd(got: Tensor, want: Tensor, *, extractor: Extractor, distance: Distance = "frechet") -> float:
    """Distance between two sets of clips (B, 3, T, H, W), T a multiple of what the extractor takes."""
    measure = FVD(extractor, distance)
    measure.update(got, want)
    return measure.compute()


class FVD(Accumulator):
    """Distance between two sets of clips that come in batches; memory grows with features at most, not with video."""

    def __init__(self, extractor: Extractor, distance: Distance = "frechet") -> None:
        if distance not in ("frechet", "kernel"):
            raise InputError(f"distance={distance!r}: expected 'frechet' or 'kernel'")
        super().__init__(features=extractor.name, distance=distance)
        self._extractor, self._kernel = extractor, distance == "kernel"

    @torch.no_grad()
    def update(self, got: Tensor, want: Tensor) -> None:
        """Take in clips of both sets, (B, 3, T, H, W) in [-1, 1]; longer ones are cut into windows, a rest is left."""
        for name, video in (("got", got), ("want", want)):
            length = self._extractor.num_frames
            if video.ndim != 5 or video.shape[2] < length:
                given = tuple(video.shape)
                raise InputError(f"{self._extractor.name} takes clips (B, 3, T, H, W) of {length} frames, got {given}")
            for window in video.split(length, 2):
                if window.shape[2] == length:
                    self._take(name, self._extractor(window).double().cpu())

    def _take(self, name: str, features: Tensor) -> None:
        self._add(f"{name}_count", len(features))
        if self._kernel:
            self._add(name, [features])
        else:
            self._add(f"{name}_sum", features.sum(0))
            self._add(f"{name}_products", features.T @ features)

    def compute(self) -> float:
        """The distance between everything so far. Raises `InputError` for fewer than two clips."""
        if min(self.sums.get("got_count", 0), self.sums.get("want_count", 0)) < 2:
            raise InputError("a distance between sets needs two clips of each or more")
        if self._kernel:
            return kernel_distance(torch.cat(self.sums["got"]), torch.cat(self.sums["want"]))
        return frechet_distance(*self._moments("got"), *self._moments("want"))

    def _moments(self, name: str) -> tuple[Tensor, Tensor]:
        count, mean = self.sums[f"{name}_count"], self.sums[f"{name}_sum"] / self.sums[f"{name}_count"]
        return mean, (self.sums[f"{name}_products"] - count * mean.outer(mean)) / (count - 1)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """Frechet distance of two Gaussians: means (d,), covariances (d, d)."""
    root = _root(covariance)
    # tr (A B)^(1/2) by the symmetric A^(1/2) B A^(1/2), which has the same eigenvalues.
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0).sqrt().sum()
    distance = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * cross
    return max(0.0, float(distance))


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def kernel_distance(got: Tensor, want: Tensor) -> float:
    """Squared maximum mean discrepancy of features (n, d) and (m, d), unbiased, so that it may be slightly negative."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return float(within(got) + within(want) - 2 * kernel(got, want).mean())
