"""From what is stored to what a diffusion model is fed: one draw or the mean of the posterior, normalised.

z = (x - mean) / std,   log-variance - 2 log std
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.latents.dataset.settings import DatasetSettings
from vidlatent.latents.dataset.stats import ChannelStats

Normalize = Literal["spec", "stats"]
Posterior = Literal["mode", "sample", "moments"]

_LEAST_STD = 1e-6  # of a channel that is constant


@dataclass(frozen=True)
class Transform:
    """Applied to latent frames (t, C, h, w) that begin at latent frame `start` of their clip.

    `mean` and `std` are (n, C, 1, 1): one for each latent frame, of which the last counts for all that follow; None
    where nothing is to be normalised.
    """

    moments: bool
    posterior: Posterior
    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def of(
        cls,
        settings: DatasetSettings,
        normalize: Normalize | None,
        posterior: Posterior,
        stats: Callable[[], ChannelStats],
    ) -> Transform:
        """What the arguments of a reader ask for. Raises `InputError` where it is not to be had."""
        if posterior not in ("mode", "sample", "moments"):
            raise InputError(f"posterior={posterior!r}: expected mode, sample or moments")
        moments = settings.kind == "moments"
        if posterior != "mode" and not moments:
            raise InputError(f"posterior={posterior!r}: this dataset keeps the {settings.kind} only, not moments")
        if normalize is None:
            return cls(moments, posterior)
        if normalize == "stats":
            return cls(
                moments, posterior, _rows(stats().mean.tolist()), _rows(stats().std.clamp(min=_LEAST_STD).tolist())
            )
        if normalize != "spec":
            raise InputError(f"normalize={normalize!r}: expected spec, stats or None")
        channels = int(settings.latent_spec["channels"])
        mean, std = (settings.latent_spec.get(name) or () for name in ("mean", "std"))
        if not mean and not std:
            raise InputError("normalize='spec': this autoencoder came without a mean and std: take 'stats'")
        return cls(
            moments, posterior, _rows(mean or [0.0] * channels, channels), _rows(std or [1.0] * channels, channels)
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether frames come as they are stored."""
        return self.mean is None and (not self.moments or self.posterior == "moments")

    def __call__(self, frames: Tensor, start: int, generator: torch.Generator | None = None) -> Tensor:
        mean, logvar = frames.chunk(2, dim=1) if self.moments else (frames, None)
        if self.mean is not None and self.std is not None:
            shift, scale = _at(self.mean, start, len(frames)), _at(self.std, start, len(frames))
            mean = (mean.float() - shift) / scale
            logvar = None if logvar is None else logvar.float() - 2 * scale.log()
        if logvar is None or self.posterior == "mode":
            return mean.contiguous()
        if self.posterior == "moments":
            return torch.cat([mean, logvar], 1)
        noise = torch.randn(mean.shape, generator=generator)
        return mean.float() + (logvar.float() / 2).exp() * noise


def _rows(values: Sequence[float], channels: int | None = None) -> Tensor:
    """(n, C, 1, 1) of C values, or of n for each channel behind each other."""
    return torch.tensor(values).view(channels or len(values), -1).T.contiguous()[..., None, None]


def _at(rows: Tensor, start: int, length: int) -> Tensor:
    if len(rows) == 1:
        return rows
    return rows[torch.arange(start, start + length).clamp(max=len(rows) - 1)]
