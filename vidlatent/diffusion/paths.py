"""Other processes and predictions in the coordinates of rectified flow.

    x = alpha z_0 + sigma eps   <=>   t = sigma / (alpha + sigma),   z_t = x / (alpha + sigma)
    eps, x0    z_0 = (x - sigma eps) / alpha,   eps = (x - alpha z_0) / sigma
    v          alpha eps - sigma z_0:  z_0 = (alpha x - sigma v) / n^2,  eps = (sigma x + alpha v) / n^2,
               n^2 = alpha^2 + sigma^2
    score      grad log p(x) = -eps / sigma
    edm        z_0 = c_skip x + c_out F(c_in x),  arXiv:2206.00364 table 1
    velocity   eps - z_0, as here

Everything that differs between DDPM, score SDEs and EDM is a path, a prediction, a density of times and a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.noise import per_frame
from vidlatent.diffusion.objective import Weight
from vidlatent.diffusion.times import Density, uniform
from vidlatent.errors import InputError

Prediction = Literal["velocity", "eps", "x0", "v", "score", "edm"]


class Path(Protocol):
    """A process `x = alpha(s) z_0 + sigma(s) eps` at times `s` of its own, from data to noise."""

    @property
    def first(self) -> float: ...

    @property
    def last(self) -> float: ...

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """`alpha, sigma` at times `s`."""
        ...

    def time(self, t: Tensor) -> Tensor:
        """The time at which sigma / (alpha + sigma) is `t`, or the nearest of `first` to `last`."""
        ...


@dataclass(frozen=True)
class Cosine:
    """alpha^2 = cos^2((s + offset) / (1 + offset) pi/2) / its value at 0, alpha^2 + sigma^2 = 1 (arXiv:2102.09672)."""

    offset: float = 0.008
    first: float = 0.0
    last: float = 0.999

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return _preserving(self._angle(s).cos().square() / self._start)

    def time(self, t: Tensor) -> Tensor:
        angle = torch.acos((_signal(t) * self._start).sqrt().clamp(max=1))
        return (angle * 2 / math.pi * (1 + self.offset) - self.offset).clamp(self.first, self.last)

    def _angle(self, s: Tensor) -> Tensor:
        return (s + self.offset) / (1 + self.offset) * math.pi / 2

    @property
    def _start(self) -> float:
        return math.cos(self.offset / (1 + self.offset) * math.pi / 2) ** 2


@dataclass(frozen=True)
class VariancePreserving:
    """The VP SDE: alpha^2 = exp(-beta_min s - (beta_max - beta_min) s^2 / 2) = 1 - sigma^2 (arXiv:2011.13456)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    first: float = 1e-5
    last: float = 1.0

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return _preserving(torch.exp(-self.beta_min * s - (self.beta_max - self.beta_min) * s**2 / 2))

    def time(self, t: Tensor) -> Tensor:
        slope, loss = self.beta_max - self.beta_min, -_signal(t).clamp(min=1e-30).log()
        s = ((self.beta_min**2 + 2 * slope * loss).sqrt() - self.beta_min) / slope
        return s.clamp(self.first, self.last)


@dataclass(frozen=True)
class VarianceExploding:
    """The VE SDE: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^s (arXiv:2011.13456)."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    first: float = 0.0
    last: float = 1.0

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(s), self.sigma_min * (self.sigma_max / self.sigma_min) ** s

    def time(self, t: Tensor) -> Tensor:
        sigma = (t / (1 - t)).clamp(self.sigma_min, self.sigma_max)
        return torch.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM:
    """alpha = 1 and sigma is the time itself (arXiv:2206.00364)."""

    first: float = 0.002
    last: float = 80.0

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(s), s

    def time(self, t: Tensor) -> Tensor:
        return (t / (1 - t)).clamp(self.first, self.last)


@dataclass(frozen=True)
class RectifiedFlow:
    """The native path, its time counted to `last` (1, or 1000 as some models take it)."""

    first: float = 0.0
    last: float = 1.0

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - s / self.last, s / self.last

    def time(self, t: Tensor) -> Tensor:
        return t * self.last


@dataclass(frozen=True)
class Discrete:
    """DDPM's steps 0 .. N-1 (arXiv:2006.11239) with alpha^2 = `signal`; log(alpha / sigma) is linear between two."""

    signal: tuple[float, ...]
    first: float = 0.0

    @classmethod
    def linear(
        cls, beta_first: float = 1e-4, beta_last: float = 0.02, *, steps: int = 1000, scaled: bool = False
    ) -> Discrete:
        """Betas evenly spaced, or their roots (`scaled`, as latent diffusion has them)."""
        power = 2 if scaled else 1
        betas = torch.linspace(beta_first ** (1 / power), beta_last ** (1 / power), steps, dtype=torch.float64) ** power
        return cls(tuple((1 - betas).cumprod(0).tolist()))

    @property
    def last(self) -> float:
        """The noisiest step."""
        return len(self.signal) - 1.0

    def coefficients(self, s: Tensor) -> tuple[Tensor, Tensor]:
        ratios = self._log_ratios(s.device)
        below = s.floor().long().clamp(0, len(ratios) - 2)
        ratio = torch.lerp(ratios[below], ratios[below + 1], s.double() - below)
        return _preserving(torch.sigmoid(2 * ratio).to(s.dtype))

    def time(self, t: Tensor) -> Tensor:
        ratios = self._log_ratios(t.device)
        wanted = torch.logit(1 - t.double(), eps=1e-12).clamp(ratios[-1], ratios[0])
        above = torch.searchsorted(-ratios, -wanted.contiguous()).clamp(1, len(ratios) - 1)
        share = (ratios[above - 1] - wanted) / (ratios[above - 1] - ratios[above])
        return (above - 1 + share).to(t.dtype)

    def _log_ratios(self, device: torch.device) -> Tensor:
        return torch.logit(torch.tensor(self.signal, dtype=torch.float64, device=device), eps=1e-12) / 2


class AsFlow(nn.Module):
    """A model `model(x, s, context)` of another path and prediction, called as the velocity of rectified flow.

    `s` is `(B, t)`. `sigma_data` is EDM's. Levels beyond the ends of the path are taken at its ends.
    """

    causal = False

    def __init__(
        self, model: nn.Module, path: Path, prediction: Prediction, *, channels: int, sigma_data: float = 0.5
    ) -> None:
        super().__init__()
        self.model, self.path, self.prediction = model, path, prediction
        self.channels, self.sigma_data = channels, sigma_data

    def forward(self, z: Tensor, t: Tensor, context: Context | None = None) -> Tensor:
        """Velocity of `z` `(B, C, t, h, w)` at levels `(B,)` or `(B, t)`."""
        t = t if t.ndim == 2 else t[:, None].expand(-1, z.shape[2])
        s = self.path.time(t)
        alpha, sigma = (per_frame(part, z) for part in self.path.coefficients(s))
        x = (alpha + sigma) * z
        scale = 1 / (sigma**2 + self.sigma_data**2).sqrt() if self.prediction == "edm" else 1.0
        answer = self.model(scale * x, sigma_condition(s) if self.prediction == "edm" else s, context)
        return velocity_of(self.prediction, answer, x, alpha, sigma, sigma_data=self.sigma_data)


def sigma_condition(sigma: Tensor) -> Tensor:
    """How EDM tells its network the noise: ln(sigma) / 4."""
    return sigma.log() / 4


def velocity_of(
    prediction: Prediction, answer: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor, *, sigma_data: float = 0.5
) -> Tensor:
    """`eps - z_0` from what a model answered at `x = alpha z_0 + sigma eps`; alpha and sigma above 0."""
    if prediction == "velocity":
        return answer
    if prediction in ("eps", "score"):
        eps = answer if prediction == "eps" else -sigma * answer
        return eps - (x - sigma * eps) / alpha
    if prediction == "v":
        return ((sigma - alpha) * x + (alpha + sigma) * answer) / (alpha**2 + sigma**2)
    if prediction == "edm":
        total = sigma**2 + sigma_data**2
        answer = sigma_data**2 / total * x + sigma * sigma_data / total.sqrt() * answer
    elif prediction != "x0":
        raise InputError(f"prediction {prediction!r}; allowed are velocity, eps, x0, v, score and edm")
    return (x - alpha * answer) / sigma - answer


def error_weight(prediction: Literal["eps", "x0", "v", "edm"], *, sigma_data: float = 0.5) -> Weight:
    """The weight that makes a velocity's squared error that of another prediction, of the same model.

    With d the velocity's error: eps (1 - t) d, z_0 -t d, v sqrt((1 - t)^2 + t^2) d; edm weighs z_0 by
    (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    """
    weights: dict[str, Callable[[Tensor], Tensor]] = {
        "eps": lambda t: (1 - t) ** 2,
        "x0": lambda t: t**2,
        "v": lambda t: (1 - t) ** 2 + t**2,
        "edm": lambda t: (t / sigma_data) ** 2 + (1 - t) ** 2,
    }
    return weights[prediction]


def path_density(path: Path) -> Density:
    """Levels as even times of that path draw them. EDM's log-normal sigma is `logit_normal(-1.2, 1.2)`."""

    def draw(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        alpha, sigma = path.coefficients(path.first + (path.last - path.first) * uniform(shape, generator))
        return sigma / (alpha + sigma)

    return draw


def _signal(t: Tensor) -> Tensor:
    """alpha^2 of a variance-preserving path at level t."""
    return (1 - t) ** 2 / ((1 - t) ** 2 + t**2)


def _preserving(signal: Tensor) -> tuple[Tensor, Tensor]:
    return signal.clamp(0, 1).sqrt(), (1 - signal).clamp(min=0).sqrt()
