"""The Haar wavelet in space and time: an orthonormal patching that separates what is smooth from what is not.

One level maps each 2-block along an axis, `(a, b)`, to `((a + b) / sqrt 2, (a - b) / sqrt 2)`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.resample import DepthToSpace, Factors, SpaceToDepth


def haar_matrix(factors: Factors) -> Tensor:
    """Orthonormal matrix (t*h*w, t*h*w): rows are sub-bands, columns the positions of a block in (t, h, w) order."""
    matrix = torch.ones(1, 1, dtype=torch.double)
    for factor in factors:
        matrix = torch.kron(matrix, _haar_1d(factor))
    return matrix


def _haar_1d(size: int) -> Tensor:
    """Haar transform of a run of `size` items, a power of two; the average first, then coarse to fine details."""
    if size < 1 or size & (size - 1):
        raise ValueError(f"a Haar transform takes a power of two, got {size}")
    matrix = torch.ones(1, 1, dtype=torch.double)
    while len(matrix) < size:
        details = torch.eye(len(matrix), dtype=torch.double)
        matrix = (
            torch.cat(
                [
                    torch.kron(matrix, torch.tensor([[1.0, 1.0]], dtype=torch.double)),
                    torch.kron(details, torch.tensor([[1.0, -1.0]], dtype=torch.double)),
                ]
            )
            / 2**0.5
        )
    return matrix


class Haar(SpaceToDepth):
    """Haar sub-bands of each block of `factors` (powers of two), as channels in the order (band, C)."""

    matrix: Tensor

    def __init__(self, factors: Factors, *, before: int = 0) -> None:
        super().__init__(factors, before=before)
        self.register_buffer("matrix", haar_matrix(factors), persistent=False)

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:
        return _mix(super().valid(x, padding, lacking), _for_channels(self.matrix, x.shape[1]))


class InverseHaar(DepthToSpace):
    """The inverse of `Haar`; put `Trim(T, before=t - 1)` behind it where `Haar` padded the first frame."""

    matrix: Tensor

    def __init__(self, factors: Factors) -> None:
        super().__init__(factors)
        self.register_buffer("matrix", haar_matrix(factors), persistent=False)

    def apply_to(self, x: Tensor) -> Tensor:
        return super().apply_to(_mix(x, _for_channels(self.matrix, x.shape[1] // len(self.matrix)).T))


def _for_channels(matrix: Tensor, channels: int) -> Tensor:
    """The same transform of every channel as one matrix, from the order (C, position) to (band, C)."""
    each = torch.eye(channels, dtype=matrix.dtype, device=matrix.device)
    return torch.einsum("oi,cd->ocdi", matrix, each).flatten(2).flatten(0, 1)


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """Apply a matrix to the channels; its zeros cost less than a layout of their own would."""
    return F.linear(x.permute(0, 2, 3, 4, 1), matrix.to(x.dtype)).permute(0, 4, 1, 2, 3)
