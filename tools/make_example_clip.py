"""Render the clip that ships in `examples/`: a bay at dusk, hills sliding past, water, a boat. Needs no footage.

python tools/make_example_clip.py examples/bay.mp4
"""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import torch

from vidlatent.io import write_video

HEIGHT, WIDTH, FRAMES, FPS = 240, 426, 61, Fraction(24)


def noise(shape: tuple[int, int], octaves: int, rng: np.random.Generator, roughness: float = 0.55) -> np.ndarray:
    """Smooth random field in [0, 1]: octaves of bilinearly enlarged white noise."""
    field, weight = np.zeros(shape), 1.0
    for octave in range(octaves):
        cells = rng.random((2 ** (octave + 1) + 1, 2 ** (octave + 2) + 1))
        enlarged = torch.nn.functional.interpolate(
            torch.from_numpy(cells)[None, None], size=shape, mode="bicubic", align_corners=True
        )
        field, weight = field + weight * enlarged[0, 0].numpy(), weight * roughness
    return (field - field.min()) / (field.max() - field.min())


def scroll(field: np.ndarray, shift: float, width: int) -> np.ndarray:
    """A window of `width` columns, `shift` (fractional) columns into the field, linearly interpolated."""
    whole, part = int(shift), shift % 1.0
    return (1 - part) * field[..., whole : whole + width] + part * field[..., whole + 1 : whole + width + 1]


def scene(rng: np.random.Generator) -> torch.Tensor:
    """All frames, uint8 (T, H, W, 3)."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    horizon = int(0.58 * HEIGHT)
    clouds, ripples = noise((horizon, 3 * WIDTH), 7, rng), noise((HEIGHT - horizon, 3 * WIDTH), 8, rng, 0.75)
    layers = [  # hills from far to near: ridge line, rock, colour, speed in pixels per frame
        (noise((1, 4 * WIDTH), 5 + k, rng)[0], noise((HEIGHT, 4 * WIDTH), 8, rng, 0.7), colour, 0.4 * 2.2**k)
        for k, colour in enumerate([(0.45, 0.42, 0.52), (0.30, 0.33, 0.36), (0.16, 0.22, 0.18)])
    ]
    glow = np.exp(-(((columns - 0.7 * WIDTH) / 120) ** 2 + ((rows - horizon) / 70) ** 2))
    frames = []
    for t in range(FRAMES):
        height = np.clip(rows / horizon, 0, 1)[..., None]
        sky = (1 - height) * np.array([0.28, 0.42, 0.68]) + height * np.array([0.96, 0.72, 0.50])
        image = sky + glow[..., None] * np.array([0.35, 0.22, 0.05])
        veil = np.clip(scroll(clouds, 0.6 * t, WIDTH) - 0.45, 0, 1)[..., None] * 1.3
        image[:horizon] = image[:horizon] * (1 - veil) + veil * np.array([0.98, 0.88, 0.82])
        for ridge, rock, colour, speed in layers:
            top = horizon - 12 - 75 * scroll(ridge, speed * t, WIDTH) * (1 - 0.12 * speed)
            inside = np.clip(rows - top[None], 0, 1) * (rows < horizon)
            shade = np.array(colour) * (0.6 + 0.8 * scroll(rock, speed * t, WIDTH)[..., None])
            image = image * (1 - inside[..., None]) + inside[..., None] * shade
        depth = (rows[horizon:] - horizon) / (HEIGHT - horizon)
        swell = np.sin(0.9 * rows[horizon:] / (0.15 + depth) + 0.5 * t + 9 * scroll(ripples, 1.7 * t, WIDTH))
        mirror = image[horizon - 1 - (np.arange(HEIGHT - horizon) * 0.9).astype(int)]
        image[horizon:] = 0.62 * mirror + 0.10 + 0.07 * swell[..., None] * (0.4 + depth[..., None])
        x, y = 60 + 3.1 * t, horizon + 34 + 2 * np.sin(0.35 * t)
        hull = np.clip(9 - np.abs(rows - y) * 1.6 - np.maximum(np.abs(columns - x) - 26, 0), 0, 1)
        mast = np.minimum(y - 6 - rows, 46 - 2.2 * (columns - x) - (y - 6 - rows))
        sail = np.clip(mast / 2, 0, 1) * (columns > x)
        image = image * (1 - hull[..., None]) + hull[..., None] * np.array([0.35, 0.14, 0.10])
        image = image * (1 - sail[..., None]) + sail[..., None] * np.array([0.96, 0.93, 0.86])
        frames.append(np.clip(image + 0.012 * rng.standard_normal(image.shape), 0, 1))
    return torch.from_numpy((np.stack(frames) * 255).round().astype(np.uint8))


if __name__ == "__main__":
    write_video(sys.argv[1], scene(np.random.default_rng(7)), fps=FPS, crf=18)
