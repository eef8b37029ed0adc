"""Discs with mass bounce in a box: c' = c + v dt, elastic at the walls, and between two discs along their normal n

    v1' = v1 - 2 m2 / (m1 + m2) <v1 - v2, n> n        (and 1 and 2 exchanged),    m = r^2.

The background is grey, b + g.x, and discs are coloured at one luminance and saturation, so a pixel's chroma says how
much of it is disc, and its hue which one: a state can be read back from any frame (`parse`). Hue, radius, brightness
and gradient never change in a clip. They are what a model that generates one must carry along, and can drift in.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlatent.diffusion.worlds.world import WorldClip, random_stream

LUMINANCE, SATURATION, EDGE = 0.2, 0.6, 2.0  # the edge's width in pixels
_SUBSTEPS = 8
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounce:
    """The world's sizes in pixels, speeds in pixels per frame, brightness in [-1, 1].

    Args:
        size: Height and width of a frame.
        num_discs: Discs in each clip; hues are spread evenly from a random start when there are several.
        radius: Range that radii are drawn from, at a frame of 64 pixels; it scales with `size`.
        speed: Likewise, of initial speeds.
    """

    size: int = 64
    num_discs: int = 1
    radius: tuple[float, float] = (8.0, 13.0)
    speed: tuple[float, float] = (0.8, 1.8)
    brightness: tuple[float, float] = (-0.6, 0.0)
    gradient: float = 0.2
    num_actions: int = 0

    def clip(self, seed: tuple[int, ...], num_frames: int) -> WorldClip:
        """`state`: position as (y, x), velocity (T, K, 2); hue, radius, mass (K,); brightness (), gradient (2,)."""
        rng = random_stream(seed)
        scale = self.size / 64
        hue = (rng.uniform(0, 2 * pi) + 2 * pi * np.arange(self.num_discs) / self.num_discs) % (2 * pi)
        radius = rng.uniform(*self.radius, self.num_discs) * scale
        brightness, gradient = rng.uniform(*self.brightness), rng.uniform(-self.gradient, self.gradient, 2)
        angle, speed = rng.uniform(0, 2 * pi, self.num_discs), rng.uniform(*self.speed, self.num_discs) * scale
        velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
        position = self._places(rng, radius)
        positions, velocities = simulate(position, velocity, radius, self.size, num_frames)
        state = {
            "position": positions,
            "velocity": velocities,
            "hue": hue,
            "radius": radius,
            "mass": radius**2,
            "brightness": np.asarray(brightness),
            "gradient": gradient,
        }
        tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in state.items()}
        return WorldClip(render(tensors, self.size), tensors)

    def _places(self, rng: np.random.Generator, radius: _Floats) -> _Floats:
        """Centres such that no disc touches a wall or another."""
        while True:
            centres = rng.uniform(radius[:, None], self.size - radius[:, None], (self.num_discs, 2))
            gap = np.linalg.norm(centres[:, None] - centres[None], axis=-1) - radius[:, None] - radius[None]
            if (gap[np.triu_indices(self.num_discs, 1)] > 1).all():
                return centres


def simulate(
    position: _Floats, velocity: _Floats, radius: _Floats, size: float, num_frames: int
) -> tuple[_Floats, _Floats]:
    """Positions and velocities (T, K, 2), the first frame at `position`."""
    position, velocity = position.copy(), velocity.copy()
    positions, velocities = np.empty((2, num_frames, *position.shape))
    low, high = radius[:, None], size - radius[:, None]
    for frame in range(num_frames):
        positions[frame], velocities[frame] = position, velocity
        for _ in range(_SUBSTEPS):
            position += velocity / _SUBSTEPS
            outside = (position < low) & (velocity < 0) | (position > high) & (velocity > 0)
            position = np.where(outside, 2 * np.where(position < low, low, high) - position, position)
            velocity = np.where(outside, -velocity, velocity)
            _collide(position, velocity, radius)
    return positions, velocities


def _collide(position: _Floats, velocity: _Floats, radius: _Floats) -> None:
    """Let discs that touch and approach bounce off each other, in place."""
    mass = radius**2
    for i in range(len(radius)):
        for j in range(i):
            apart = position[i] - position[j]
            distance = np.linalg.norm(apart)
            approach = (velocity[i] - velocity[j]) @ apart / distance
            if distance < radius[i] + radius[j] and approach < 0:
                impulse = 2 * approach / (mass[i] + mass[j]) * apart / distance
                velocity[i] -= mass[j] * impulse
                velocity[j] += mass[i] * impulse


def hue_direction(hue: Tensor) -> Tensor:
    """Hues (...,) in radians as RGB directions (..., 3) that sum to zero."""
    return torch.cos(hue[..., None] - hue.new_tensor([0, 2 * pi / 3, 4 * pi / 3]))


def render(state: dict[str, Tensor], size: int) -> Tensor:
    """Frames (3, T, size, size) of a state as `Bounce.clip` gives it; edges cover pixels in part."""
    axis = torch.arange(size) + 0.5
    slope = state["gradient"][..., :, None] * (2 * axis / size - 1)  # ([T,] 2, size)
    grey = state["brightness"][..., None, None] + slope[..., 0, :, None] + slope[..., 1, None, :]
    num_frames, num_discs = state["position"].shape[:2]
    video = grey.expand(num_frames, size, size).unsqueeze(0).repeat(3, 1, 1, 1)
    for disc in range(num_discs):
        away = axis - state["position"][:, disc, :, None]  # (T, 2, size)
        distance = torch.hypot(away[:, 0, :, None], away[:, 1, None, :])
        alpha = ((state["radius"][..., disc, None, None] - distance) / EDGE + 0.5).clamp(0, 1)
        colour = LUMINANCE + SATURATION * hue_direction(state["hue"][..., disc])  # ([T,] 3)
        video = torch.lerp(video, colour.movedim(-1, 0).reshape(3, -1, 1, 1), alpha)
    return video
