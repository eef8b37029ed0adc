"""Read the state of a bouncing world back from frames, generated or real.

A background pixel has no chroma, so |chroma| / its level inside the discs is how much of a pixel is disc:
centre = weighted mean, area = sum of weights = pi r^2, hue = direction of the summed chroma. Background: the plane
b + g.x through the luminance of the other pixels, by least squares.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from vidlatent.diffusion.worlds.bounce import SATURATION, render

_FULL = SATURATION * 1.5**0.5  # |chroma| of a disc: |hue_direction| = sqrt(3 / 2)
_DISC, _GROUND, _SEEN = 0.3, 0.1, 12.0  # levels of |chroma| / full; pixels that make an object


def parse(video: Tensor, num_discs: int = 1) -> dict[str, Tensor]:
    """State per frame of `video` (3, T, H, W) in [-1, 1].

    Returns position (T, K, 2), hue, radius, saturation (T, K), brightness (T,), gradient (T, 2), count (T,), and
    `residual` (T,): the mean squared distance of the frame from its own state rendered, zero on the world's manifold.
    Discs keep their place in K by hue; one that is not there has radius 0 and lies at the frame's centre.
    """
    video = video.detach().float()
    size = video.shape[-1]
    axis = torch.arange(size, device=video.device) + 0.5
    luminance = video.mean(0)
    chroma = video - luminance
    strength = chroma.norm(dim=0) / _FULL
    states = [_disc(strength * share, chroma * share, axis) for share in _shares(chroma, strength, num_discs)]
    state = {name: torch.stack([disc[name] for disc in states], 1) for name in states[0]}
    state["brightness"], state["gradient"] = _background(luminance, strength < _GROUND, axis)
    state["count"] = (state["radius"] > 0).sum(1).float()
    state["residual"] = (video - render(state, size)).square().mean((0, 2, 3))
    return state


def _shares(chroma: Tensor, strength: Tensor, num_discs: int) -> list[Tensor]:
    """Which pixels belong to which disc (T, H, W), by hue; the hues are those in the clip's first frame."""
    seen = strength > _DISC
    if num_discs == 1:
        return [seen.float()]
    plane = _plane(chroma)
    angle = torch.atan2(plane[1], plane[0])
    hues = _modes(angle[0][seen[0]], num_discs)
    nearest = _turn(angle[..., None] - hues).abs().argmin(-1)
    return [(seen & (nearest == disc)).float() for disc in range(num_discs)]


def _modes(angles: Tensor, count: int) -> Tensor:
    """Centres of `count` clusters of angles: k-means on the circle, from evenly spread starts."""
    if not len(angles):
        return torch.arange(count) * 2 * pi / count
    starts = angles.median() + 2 * pi * torch.arange(count, device=angles.device) / count
    for _ in range(8):
        nearest = _turn(angles[:, None] - starts).abs().argmin(-1)
        for index in range(count):
            mine = angles[nearest == index]
            if len(mine):
                starts[index] = starts[index] + _turn(mine - starts[index]).mean()
    return starts


def _disc(weight: Tensor, chroma: Tensor, axis: Tensor) -> dict[str, Tensor]:
    core = torch.where(weight > 0.5, weight, torch.nan).flatten(1)
    level = core.nanmedian(1).values.nan_to_num(1.0)
    part = (weight / level[:, None, None]).clamp(0, 1)
    area = part.sum((1, 2))
    there = area > _SEEN
    total = area.clamp_min(1e-6)
    centre = torch.stack([(part.sum(2) * axis).sum(1), (part.sum(1) * axis).sum(1)], 1) / total[:, None]
    plane = _plane(chroma).sum((2, 3))
    return {
        "position": torch.where(there[:, None], centre, torch.full_like(centre, len(axis) / 2)),
        "radius": torch.where(there, (area / pi).sqrt(), torch.zeros_like(area)),
        "hue": torch.atan2(plane[1], plane[0]) % (2 * pi),
        "saturation": level,
    }


def _background(luminance: Tensor, ground: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of b + gy y + gx x over the pixels of `ground`, with y and x in [-1, 1]."""
    size = len(axis)
    line = 2 * axis / size - 1
    basis = torch.stack(
        [
            torch.ones(size * size, device=axis.device),
            line.repeat_interleave(size),
            line.repeat(size),
        ],
        1,
    )
    weight = ground.flatten(1).float()[:, :, None]
    normal = basis.T @ (weight * basis) + 1e-4 * torch.eye(3, device=axis.device)
    fit = torch.linalg.solve(normal, basis.T @ (weight * luminance.flatten(1)[:, :, None]))[..., 0]
    return fit[:, 0], fit[:, 1:]


def _plane(chroma: Tensor) -> Tensor:
    """Coordinates (2, ...) in the plane of zero-sum colours, where a hue is an angle."""
    red, green, blue = chroma
    return torch.stack([(2 * red - green - blue) / 3, (green - blue) / 3**0.5])


def _turn(angle: Tensor) -> Tensor:
    return (angle + pi) % (2 * pi) - pi
