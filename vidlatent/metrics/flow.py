"""Dense optical flow by pyramidal Lucas-Kanade: small, without weights, good enough to follow a clip's own motion.

At every pixel, over a window, the displacement d solves  sum [Ix^2 IxIy; IxIy Iy^2] d = -sum [Ix It; Iy It],
refined by warping, from the coarsest picture of a pyramid to the finest (Bouguet 2000). Pictures whose shorter side is
beyond 576 pixels are halved until it is not, and the displacements enlarged: the largest motion that is found grows
with the picture, and what it takes does not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

_SMALLEST, _LARGEST, _LEVELS, _ROUNDS = 16, 576, 5, 3
_RADIUS = 4
_STIFFNESS = 1e-3


def optical_flow(source: Tensor, target: Tensor) -> Tensor:
    """Displacements (B, 2, H, W), x then y in pixels, with `source(p) = target(p + flow(p))`, of (B, C, H, W).

    From the pictures at half the size, a quarter and so on where their shorter side is beyond 576 pixels.
    """
    return enlarge(bounded_flow(source, target), source.shape[-2:])


def bounded_flow(source: Tensor, target: Tensor) -> Tensor:
    """What `enlarge` makes `optical_flow`: (B, 2, h, w), the shorter side 576 pixels at most."""
    bottom = (source.float().mean(1, keepdim=True), target.float().mean(1, keepdim=True))
    while min(bottom[0].shape[-2:]) > _LARGEST:
        bottom = tuple(avg_pool2d(picture, 2) for picture in bottom)  # type: ignore[assignment]
    pyramid = [bottom]
    while min(pyramid[-1][0].shape[-2:]) >= 2 * _SMALLEST and len(pyramid) < _LEVELS:
        pyramid.append(tuple(avg_pool2d(picture, 2) for picture in pyramid[-1]))  # type: ignore[arg-type]
    flow = torch.zeros(len(source), 2, *pyramid[-1][0].shape[-2:], device=source.device)
    for a, b in reversed(pyramid):
        flow = enlarge(flow, a.shape[-2:])
        for _ in range(_ROUNDS):
            flow = _smooth(flow + _step(a, warp(b, flow)), 1)
    return flow


class Motion:
    """How one clip moves, found once for all that is measured beside it.

    Kept up to `most_bytes`; what is beyond is found anew whenever it is asked for.
    """

    def __init__(self, most_bytes: int = 2**28) -> None:
        self._left, self._kept = most_bytes, dict[int, Tensor]()

    def into(self, index: int, frame: Tensor, before: Tensor) -> Tensor:
        """`bounded_flow` from frame number `index` (B, C, H, W) to the one before it."""
        if index in self._kept:
            return self._kept[index]
        flow = bounded_flow(frame, before)
        if flow.nbytes <= self._left:
            self._left -= flow.nbytes
            self._kept[index] = flow
        return flow


def enlarge(flow: Tensor, size: torch.Size) -> Tensor:
    """Displacements (B, 2, h, w) of pictures that were halved, once or more, as those of the pictures of `size`."""
    if flow.shape[-2:] == size:
        return flow
    return round(size[0] / flow.shape[-2]) * interpolate(flow, size, mode="bilinear", align_corners=False)


def warp(picture: Tensor, flow: Tensor, top: int = 0) -> Tensor:
    """`picture(p + flow(p))` by bilinear interpolation, the border repeated; (B, C, H, W).

    A flow of fewer rows than the picture gives as many, from row `top` on.
    """
    H, W = picture.shape[-2:]
    rows = torch.arange(top, top + flow.shape[-2], device=flow.device)
    y, x = torch.meshgrid(rows, torch.arange(W, device=flow.device), indexing="ij")
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
