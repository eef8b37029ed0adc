"""The Haar wavelet packet: every sub-band is split again, not the averages alone as in `Haar`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidlatent.nn.resample import Factors
from vidlatent.nn.wavelet import Haar, InverseHaar
from vidlatent.streaming import H, T, W

_ALL = (T, H, W)


def packet_matrix(levels: int, axes: Sequence[int] = _ALL) -> Tensor:
    """Signs (2^n, 2^n) of a packet of blocks `2^levels` long along each of `axes`; n is their number times `levels`.

    Rows are sub-bands, the coarsest level first and each in the order of `axes`; columns the positions of a block in
    (T, H, W) order.
    """
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.double)
    matrix, count = torch.ones(1, 1, dtype=torch.double), len(axes) * levels
    for _ in range(count):
        matrix = torch.kron(matrix, pair)
    bands = matrix.view(*count * (2,), -1)  # by axis, then level
    order = [sorted(axes).index(axis) * levels + level for level in range(levels) for axis in axes]
    return bands.permute(*order, count).reshape(matrix.shape)


def _factors(levels: int, axes: Sequence[int]) -> Factors:
    t, h, w = (2**levels if axis in axes else 1 for axis in _ALL)
    return t, h, w


class HaarPacket(Haar):
    """Means and mean differences of each block `2^levels` long, as channels in the order (band, C); see `Haar`."""

    def __init__(self, levels: int, *, before: int = 0, axes: Sequence[int] = _ALL) -> None:
        super().__init__(_factors(levels, axes), before=before)
        self.matrix = packet_matrix(levels, axes) / 2 ** (levels * len(axes))


class InverseHaarPacket(InverseHaar):
    """The inverse of `HaarPacket`."""

    def __init__(self, levels: int, *, axes: Sequence[int] = _ALL) -> None:
        super().__init__(_factors(levels, axes))
        self.matrix = packet_matrix(levels, axes)
