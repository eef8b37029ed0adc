"""Dense optical flow by pyramidal Lucas-Kanade: small, without weights, good enough to follow a clip's own motion.

At every pixel, over a window, the displacement d solves  sum [Ix^2 IxIy; IxIy Iy^2] d = -sum [Ix It; Iy It],
refined by warping, from the coarsest picture of a pyramid to the finest (Bouguet 2000).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

_SMALLEST, _LEVELS, _ROUNDS = 16, 5, 3
_RADIUS = 4
_STIFFNESS = 1e-3


def optical_flow(source: Tensor, target: Tensor) -> Tensor:
    """Displacements (B, 2, H, W), x then y in pixels, with `source(p) = target(p + flow(p))`, of (B, C, H, W)."""
    pyramid = [(source.float().mean(1, keepdim=True), target.float().mean(1, keepdim=True))]
    while min(pyramid[-1][0].shape[-2:]) >= 2 * _SMALLEST and len(pyramid) < _LEVELS:
        pyramid.append(tuple(avg_pool2d(picture, 2) for picture in pyramid[-1]))  # type: ignore[arg-type]
    flow = torch.zeros(len(source), 2, *pyramid[-1][0].shape[-2:], device=source.device)
    for a, b in reversed(pyramid):
        if flow.shape[-2:] != a.shape[-2:]:
            flow = 2 * interpolate(flow, a.shape[-2:], mode="bilinear", align_corners=False)
        for _ in range(_ROUNDS):
            flow = _smooth(flow + _step(a, warp(b, flow)), 1)
    return flow


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """`picture(p + flow(p))` by bilinear interpolation, the border repeated; (B, C, H, W)."""
    H, W = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H, device=flow.device), torch.arange(W, device=flow.device), indexing="ij")
    across, down = (x + flow[:, 0]) / max(W - 1, 1), (y + flow[:, 1]) / max(H - 1, 1)
    grid = torch.stack([across, down], -1) * 2 - 1
    return grid_sample(picture.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)


def _step(source: Tensor, moved: Tensor) -> Tensor:
    """How much further each pixel has to go."""
    mean = pad((source + moved) / 2, (1, 1, 1, 1), mode="replicate")
    dx = (mean[..., 1:-1, 2:] - mean[..., 1:-1, :-2]) / 2
    dy = (mean[..., 2:, 1:-1] - mean[..., :-2, 1:-1]) / 2
    dt = moved - source
    products = torch.cat([dx * dx, dx * dy, dy * dy, dx * dt, dy * dt], 1)
    xx, xy, yy, xt, yt = _smooth(products, _RADIUS).unbind(1)
    # A little stiffness keeps flat regions, where nothing is known, at rest.
    xx, yy = xx + _STIFFNESS, yy + _STIFFNESS
    determinant = xx * yy - xy * xy
    step = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], 1) / determinant.unsqueeze(1)
    return step.clamp(-2, 2)


def _smooth(planes: Tensor, radius: int) -> Tensor:
    """Means over squares, rows then columns."""
    size = 2 * radius + 1
    rows = avg_pool2d(planes, (size, 1), 1, (radius, 0), count_include_pad=False)
    return avg_pool2d(rows, (1, size), 1, (0, radius), count_include_pad=False)
