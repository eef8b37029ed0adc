"""Noise: how it is mixed in, and where it comes from: drawn on the CPU, so a seed means the same on every device.

z_t = (1 - t) z_0 + t eps

FreeNoise (arXiv:2310.15169): the first `window` frames are fresh, each later window is a shuffle of them. Frames far
apart then share their noise, and a model of short clips keeps one scene together.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


def noise_like(z: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal values in the shape, type and place of `z`."""
    if generator is None or generator.device == z.device:
        return torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
    return torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)


def interpolate(z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """`(1 - t) z0 + t noise` of `(B, C, t, h, w)` at levels `(B,)` or `(B, t)`."""
    t = per_frame(t, z0)
    return (1 - t) * z0 + t * noise


def per_frame(t: Tensor, z: Tensor) -> Tensor:
    """Levels `(B,)` or `(B, t)` shaped to multiply latents `(B, C, t, h, w)`."""
    return t.to(z.dtype).view(len(t), 1, -1, 1, 1)


class NoiseSource(Protocol):
    """Starting noise of frames that follow those asked for before."""

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class FreshNoise:
    """Every frame's noise is its own."""

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Noise shaped like `like` `(B, C, t, h, w)`."""
        return noise_like(like, generator)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002 - nothing is kept
        return


class FreeNoise:
    """Fresh for `window` frames, then shuffles of them, window by window."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._frames: list[Tensor] = []
        self._waiting: list[int] = []

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Noise shaped like `like` `(B, C, t, h, w)`."""
        return torch.cat([self._next(like[:, :, i : i + 1], generator) for i in range(like.shape[2])], 2)

    def _next(self, like: Tensor, generator: torch.Generator) -> Tensor:
        if len(self._frames) < self.window:
            self._frames.append(noise_like(like, generator))
            return self._frames[-1]
        self._waiting = self._waiting or torch.randperm(self.window, generator=generator).tolist()
        return self._frames[self._waiting.pop()]

    def state_dict(self) -> dict[str, Any]:
        return {"frames": list(self._frames), "waiting": list(self._waiting)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._frames, self._waiting = list(state["frames"]), list(state["waiting"])
