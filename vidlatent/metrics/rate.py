"""What a code costs: numbers per pixel, and bits per pixel by the entropy of what is stored.

The entropy of symbols with frequencies p, -sum p log2 p, is what an ideal coder without context would spend on each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.metrics.accumulator import Accumulator

_INT8_STEPS = 127
_INT8_SPREAD = 5.0


def values_per_pixel(latents: tuple[int, ...], video: tuple[int, ...]) -> float:
    """Latent numbers (C, t, h, w) for each pixel of a video (T, H, W)."""
    return torch.Size(latents).numel() / torch.Size(video).numel()


def int8_codes(latents: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Latents (B, C, t, h, w) as whole numbers in [-127, 127], 127 being five standard deviations (C,) of a channel."""
    column = (1, -1, 1, 1, 1)
    normal = (latents - mean.view(column)) / std.clamp_min(1e-12).view(column)
    return (normal * (_INT8_STEPS / _INT8_SPREAD)).round().clamp(-_INT8_STEPS, _INT8_STEPS).to(torch.int8)


def from_int8_codes(codes: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The latents that `int8_codes` stand for, float32."""
    column = (1, -1, 1, 1, 1)
    return codes.float() * (_INT8_SPREAD / _INT8_STEPS) * std.clamp_min(1e-12).view(column) + mean.view(column)


class CodeEntropy(Accumulator):
    """Entropy of codes that come in pieces, with frequencies of their own for each channel.

    Args:
        lowest, highest: The codes that there may be; (-128, 127) for int8, (0, K - 1) for a codebook of K.
        channels: Each has its own frequencies: 16 for 16-channel int8 latents, 1 for a codebook's indices.
    """

    def __init__(self, lowest: int, highest: int, channels: int = 1) -> None:
        super().__init__(lowest=lowest, highest=highest, channels=channels)
        self._lowest, self._size = lowest, highest - lowest + 1
        self.sums = {"counts": torch.zeros(channels, self._size, dtype=torch.double)}

    def update(self, codes: Tensor) -> None:
        """Take in codes (B, channels, ...), or of any shape where there is one channel."""
        counts = self.sums["counts"]
        rows = codes.reshape(1, -1) if len(counts) == 1 else codes.transpose(0, 1).flatten(1)
        if len(rows) != len(counts):
            raise InputError(f"expected codes (B, {len(counts)}, ...), got {tuple(codes.shape)}")
        shifted = rows.long().cpu() - self._lowest
        if shifted.numel() and not 0 <= int(shifted.min()) <= int(shifted.max()) < self._size:
            raise InputError(f"codes go beyond [{self._lowest}, {self._lowest + self._size - 1}]")
        for row, symbols in zip(counts, shifted, strict=True):
            row += torch.bincount(symbols, minlength=self._size)

    def compute(self) -> float:
        """Bits of everything so far."""
        counts = self.sums["counts"]
        if not counts.sum():
            raise InputError("nothing was measured yet: update() with at least one code first")
        shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
        return float(torch.special.entr(shares).sum(1).mul(counts.sum(1)).sum() / math.log(2))

    def used(self) -> float:
        """Share of the codes that occurred, over all channels: a codebook's usage."""
        return float((self.sums["counts"] > 0).double().mean())
