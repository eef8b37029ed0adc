"""How much of a codebook is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Usage:
    """`share` of the vectors that occur, `perplexity` = 2^entropy of their frequencies, and that `entropy_bits`."""

    share: float
    perplexity: float
    entropy_bits: float


def usage(codes: Sequence[Tensor], sizes: Sequence[int]) -> list[Usage]:
    """Usage of each codebook by its codes, as `Bottleneck.codes` gives them.

    A share near 1 needs more codes than vectors. Memory is in proportion to the codes, not to the sizes.
    """
    return [_of(given, size) for given, size in zip(codes, sizes, strict=True)]


def _of(codes: Tensor, size: int) -> Usage:
    _, counts = codes.flatten().unique(return_counts=True)
    shares = counts.double() / counts.sum()
    entropy = float(-(shares * shares.log2()).sum())
    return Usage(len(counts) / size, 2.0**entropy, entropy)
