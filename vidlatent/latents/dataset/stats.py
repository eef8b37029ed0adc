"""Per-channel statistics that add up: of slabs, of clips, of shards, of workers.

    M = sum (x - mean)(x - mean)^T,   merged:  M = M_a + M_b + d d^T n_a n_b / n,   d = mean_b - mean_a

Chan, Golub and LeVeque (1979), in float64: as accurate as two passes over everything, in whichever order it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class ChannelStats:
    """Mean and covariance over every value of each channel seen so far.

    Args:
        channels: How many.
        count: Values per channel: latent frames x rows x columns.
        mean: (C,) float64.
        scatter: (C, C) float64, the sum M above.
    """

    channels: int
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))
    scatter: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __post_init__(self) -> None:
        if not self.count:
            self.mean = torch.zeros(self.channels, dtype=torch.float64)
            self.scatter = torch.zeros(self.channels, self.channels, dtype=torch.float64)

    def update(self, frames: Tensor) -> None:
        """Take in latent frames (t, C', h, w); of C' channels the first C count."""
        rows = frames[:, : self.channels].transpose(0, 1).reshape(self.channels, -1).double()
        if rows.shape[1]:
            mean = rows.mean(1)
            rows = rows - mean[:, None]
            self.merge(ChannelStats(self.channels, rows.shape[1], mean, rows @ rows.T))

    def merge(self, other: ChannelStats) -> None:
        """Take in what another one has seen."""
        if not other.count:
            return
        if not self.count:  # what follows would give the same, more slowly
            self.count, self.mean, self.scatter = other.count, other.mean, other.scatter
            return
        count = self.count + other.count
        step = other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(step, step) * (self.count * other.count / count)
        self.mean = self.mean + step * (other.count / count)
        self.count = count

    @property
    def covariance(self) -> Tensor:
        """(C, C), of the population: divided by the count."""
        return self.scatter / max(self.count, 1)

    @property
    def std(self) -> Tensor:
        """(C,)."""
        return self.covariance.diagonal().clamp(min=0).sqrt()

    def to_json(self) -> dict[str, Any]:
        """Numbers that restore it exactly."""
        return {"count": self.count, "mean": self.mean.tolist(), "scatter": self.scatter.tolist()}

    def summary(self) -> dict[str, Any]:
        """What people and other programs read: count, mean, std, covariance."""
        return {
            "count": self.count,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "covariance": self.covariance.tolist(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ChannelStats:
        """Inverse of `to_json`."""
        mean, scatter = (torch.tensor(record[name], dtype=torch.float64) for name in ("mean", "scatter"))
        return cls(len(mean), int(record["count"]), mean, scatter)

    @classmethod
    def from_summary(cls, record: Mapping[str, Any]) -> ChannelStats:
        """Inverse of `summary`, up to rounding."""
        mean, covariance = (torch.tensor(record[name], dtype=torch.float64) for name in ("mean", "covariance"))
        return cls(len(mean), int(record["count"]), mean, covariance * record["count"])
