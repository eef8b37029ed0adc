"""What a latent is: its channels, its grid, its statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """The latent grid of an autoencoder.

    `stride` is video size per latent along (T, H, W). `first_frame` is "single" where the first latent holds one frame
    (T = 1 + k * stride fits without padding) and "grouped" where every latent holds `stride` frames. With `run` that
    begins anew every `run` latents. `mean` and `std` are for diffusion models: per channel, or for each channel one per
    latent frame from the clip's first on, of which the last counts for all that follow.
    """

    channels: int
    stride: tuple[int, int, int]
    first_frame: Literal["single", "grouped"] = "single"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    run: int = 0

    def num_latent_frames(self, num_frames: int) -> int:
        """Latent frames that hold `num_frames` video frames, none dropped."""
        runs, rest = divmod(num_frames, self._frames(self.run)) if self.run else (0, num_frames)
        first = 1 if self.first_frame == "single" else 0
        return runs * self.run + (first + math.ceil((rest - first) / self.stride[0]) if rest else 0)

    def num_frames(self, num_latent_frames: int) -> int:
        """Most video frames that `num_latent_frames` can hold, and the number that decoding them gives."""
        runs, rest = divmod(num_latent_frames, self.run) if self.run else (0, num_latent_frames)
        return runs * self._frames(self.run) + (self._frames(rest) if rest else 0)

    def _frames(self, num_latent_frames: int) -> int:
        """Video frames of latents of one run."""
        first = 1 if self.first_frame == "single" else 0
        return first + (num_latent_frames - first) * self.stride[0]

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Latent rows and columns that hold a frame of `height` x `width`."""
        return math.ceil(height / self.stride[1]), math.ceil(width / self.stride[2])

    def normalize(self, latents: Tensor) -> Tensor:
        """`(latents - mean) / std` per channel: what a diffusion model is fed. Latents are (B, C, t, h, w)."""
        return (latents - self._column(self.mean, 0.0, latents)) / self._column(self.std, 1.0, latents)

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`: what `decode` takes."""
        return latents * self._column(self.std, 1.0, latents) + self._column(self.mean, 0.0, latents)

    def _column(self, values: tuple[float, ...], default: float, like: Tensor) -> Tensor:
        filled = torch.tensor(values or (default,) * self.channels, dtype=like.dtype, device=like.device)
        column = filled.view(1, self.channels, -1, 1, 1)
        frames = torch.arange(like.shape[2], device=like.device).clamp(max=column.shape[2] - 1)
        return column if column.shape[2] == 1 else column[:, :, frames]
