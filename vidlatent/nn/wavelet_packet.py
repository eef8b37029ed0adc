"""The Haar wavelet packet: every sub-band is split again, not the averages alone as in `Haar`."""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.nn.wavelet import Haar, InverseHaar


def packet_matrix(levels: int) -> Tensor:
    """Signs (8^levels, 8^levels) of a packet of blocks `2^levels` long in (T, H, W).

    Rows are sub-bands, the coarsest level first and each in (T, H, W) order; columns the positions of a block in
    (T, H, W) order.
    """
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.double)
    matrix = torch.ones(1, 1, dtype=torch.double)
    for _ in range(3 * levels):
        matrix = torch.kron(matrix, pair)
    bands = matrix.view(*(3 * levels) * (2,), -1)  # by axis, then level
    order = [axis * levels + level for level in range(levels) for axis in range(3)]
    return bands.permute(*order, 3 * levels).reshape(matrix.shape)


class HaarPacket(Haar):
    """Means and mean differences of each block `2^levels` long, as channels in the order (band, C); see `Haar`."""

    def __init__(self, levels: int, *, before: int = 0) -> None:
        size = 2**levels
        super().__init__((size, size, size), before=before)
        self.matrix = packet_matrix(levels) / size**3


class InverseHaarPacket(InverseHaar):
    """The inverse of `HaarPacket`."""

    def __init__(self, levels: int) -> None:
        size = 2**levels
        super().__init__((size, size, size))
        self.matrix = packet_matrix(levels)
