"""A textured plane turns at constant speed below the camera:   texture(R(-(theta + omega t)) x / zoom).

The texture is a sum of waves in one hue. Angular velocity, wave lengths, hue and brightness never change in a clip,
and `angular_velocity` reads the first of them back from any frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.diffusion.worlds.bounce import hue_direction
from vidlatent.diffusion.worlds.world import WorldClip, random_stream

_ANGLES = 720  # of a polar picture: half a degree each


@dataclass(frozen=True)
class Planes:
    """Sizes in pixels, `omega` in radians per frame (its sign is drawn too).

    Args:
        size: Height and width of a frame.
        num_waves: Waves in the texture.
        omega: Range of the absolute angular velocity.
        tilt: Largest tilt of the plane against the image, in radians; 0 looks straight down.
    """

    size: int = 64
    num_waves: int = 4
    omega: tuple[float, float] = (0.02, 0.12)
    tilt: float = 0.0
    num_actions: int = 0

    def clip(self, seed: tuple[int, ...], num_frames: int) -> WorldClip:
        """`state`: angle (T,), omega, hue, brightness, tilt (), waves (num_waves, 3) as (y, x, phase)."""
        rng = random_stream(seed)
        omega = rng.uniform(*self.omega) * rng.choice((-1, 1))
        angle = rng.uniform(0, 2 * pi) + omega * torch.arange(num_frames, dtype=torch.float64)
        heading, cycles = rng.uniform(0, 2 * pi, self.num_waves), rng.uniform(0.6, 2.2, self.num_waves)
        phase = rng.uniform(0, 2 * pi, self.num_waves)
        scalars = {"omega": omega, "hue": rng.uniform(0, 2 * pi), "brightness": rng.uniform(-0.3, 0.2)}
        scalars["tilt"] = rng.uniform(-self.tilt, self.tilt)
        state = {name: torch.tensor(value, dtype=torch.float32) for name, value in scalars.items()}
        waves = np.stack([np.sin(heading) * cycles, np.cos(heading) * cycles, phase], 1)
        state |= {"angle": angle.float(), "waves": torch.as_tensor(waves).float()}
        return WorldClip(render(state, self.size), state)


def render(state: dict[str, Tensor], size: int) -> Tensor:
    """Frames (3, T, size, size) of a state as `Planes.clip` gives it."""
    line = 2 * (torch.arange(size) + 0.5) / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    depth = 1 + y * state["tilt"].sin()  # rows further up lie further away
    y, x = y * state["tilt"].cos() / depth, x / depth
    cos, sin = state["angle"].cos()[:, None, None], state["angle"].sin()[:, None, None]
    across, down = cos * x + sin * y, cos * y - sin * x
    wave_y, wave_x, phase = state["waves"].unbind(1)
    value = sum(
        torch.sin(2 * pi * (fy * down + fx * across) + shift)
        for fy, fx, shift in zip(wave_y, wave_x, phase, strict=True)
    )
    value = value / len(phase) ** 0.5 / 2
    colour = 0.5 + 0.5 * hue_direction(state["hue"])
    return (state["brightness"] + value * colour[:, None, None, None]).clamp(-1, 1)


def angular_velocity(video: Tensor, *, largest: float = 0.2) -> Tensor:
    """Turn between neighbouring frames (T - 1,), in radians, of `video` (3, T, H, W) seen straight down.

    The frames' luminance is read on circles; the shift of greatest circular correlation, refined by a parabola, is
    the turn. Precise to about 0.002.
    """
    rings = _polar(video.float().mean(0))
    spectrum = torch.fft.rfft(rings - rings.mean(-1, keepdim=True), dim=-1)
    match = torch.fft.irfft((spectrum[1:] * spectrum[:-1].conj()).sum(1), _ANGLES)
    shifts = torch.arange(_ANGLES)
    signed = torch.where(shifts > _ANGLES // 2, shifts - _ANGLES, shifts)
    reach = signed.abs() <= largest * _ANGLES / (2 * pi)
    best = match.masked_fill(~reach, -torch.inf).argmax(-1)
    rows = torch.arange(len(best))
    left, middle, right = (match[rows, (best + step) % _ANGLES] for step in (-1, 0, 1))
    offset = 0.5 * (left - right) / (left - 2 * middle + right).clamp_max(-1e-12)
    return (signed[best] + offset.clamp(-0.5, 0.5)) * 2 * pi / _ANGLES


def _polar(luminance: Tensor) -> Tensor:
    """(T, H, W) on circles around the centre: (T, radii, angles), the longer ones weighing more."""
    radii = torch.linspace(0.2, 0.95, 24)
    angles = torch.arange(_ANGLES) * 2 * pi / _ANGLES
    grid = torch.stack([radii[:, None] * angles.cos(), radii[:, None] * angles.sin()], -1)
    rings = F.grid_sample(
        luminance[:, None], grid.expand(len(luminance), -1, -1, -1), align_corners=False, padding_mode="border"
    )
    return rings[:, 0] * radii[:, None].sqrt()
