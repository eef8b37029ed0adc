"""Who sees whom, as one predicate over latent frames: `sees(query_frame, key_frame)`.

    full            True
    causal          b(k) <= b(q),  b(i) = i // block
      windowed      and (b(q) - b(k)) * block <= window, or k < sinks
    local           |q - k| <= window
    teacher forcing frames 0..n-1 are clean, n..2n-1 noisy copies of them:
                    clean sees clean as in causal; noisy sees clean with b(k) < b(q), and its own noisy block

The same predicate becomes a boolean mask (any device) or a `BlockMask` of FlexAttention (CUDA).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from vidlatent.errors import InputError


class Predicate(Protocol):
    """Elementwise on integer tensors of frame indices; hashable, so that masks are built once."""

    def __call__(self, query: Tensor, key: Tensor) -> Tensor: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Full:
    """Every frame sees every frame."""

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        return (query == query) & (key == key)


@dataclass(frozen=True)
class Causal:
    """A frame sees its own block and those before it: all, or the last `window` frames and the first `sinks`."""

    block: int = 1
    window: int | None = None
    sinks: int = 0

    def __post_init__(self) -> None:
        for name, value in (("window", self.window or 0), ("sinks", self.sinks)):
            if value < 0 or value % self.block:
                raise InputError(f"{name}={value}: allowed are multiples of block={self.block}, from 0")

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        ago = query // self.block - key // self.block
        return (ago >= 0) & self.near(ago, key)

    def near(self, ago: Tensor, key: Tensor) -> Tensor:
        """Whether a block `ago` blocks back is still held, or `key` is a sink."""
        if self.window is None:
            return ago == ago
        return (ago * self.block <= self.window) | (key < self.sinks)


@dataclass(frozen=True)
class Local:
    """A frame sees frames up to `window` away, on either side."""

    window: int

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).abs() <= self.window


@dataclass(frozen=True)
class TeacherForcing:
    """Of `2 * frames` frames the first half is clean context, the second its noisy copies."""

    frames: int
    causal: Causal = Causal()

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        n, block = self.frames, self.causal.block
        noisy_query, noisy_key = query >= n, key >= n
        ago = (query % n) // block - (key % n) // block
        near = self.causal.near(ago, key % n)
        clean_to_clean = ~noisy_query & ~noisy_key & (ago >= 0) & near
        noisy_to_clean = noisy_query & ~noisy_key & (ago > 0) & near
        return clean_to_clean | noisy_to_clean | (noisy_query & noisy_key & (ago == 0))


@dataclass(frozen=True)
class Mask:
    """A predicate on `queries` frames that are the last of `keys` frames, each of `tokens` tokens."""

    predicate: Predicate
    queries: int
    keys: int
    tokens: int

    def frames(self) -> Tensor:
        """Boolean `(queries, keys)`, one entry a pair of frames."""
        query = torch.arange(self.keys - self.queries, self.keys)
        return self.predicate(query[:, None], torch.arange(self.keys)[None])

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Elementwise on indices of tokens."""
        return self.predicate(query // self.tokens + self.keys - self.queries, key // self.tokens)

    def dense(self, device: torch.device) -> Tensor:
        """Boolean `(queries * tokens, keys * tokens)`: True may attend."""
        return _dense(self, device)

    def flex(self, device: torch.device) -> Any:
        """The same as FlexAttention's `BlockMask`."""
        return _flex(self, device)


def mask_for(predicate: Predicate, queries: int, keys: int, tokens: int) -> Mask | None:
    """The mask, or None where everything is visible and none is needed."""
    return _mask_for(predicate, queries, keys, tokens)


@lru_cache(maxsize=256)
def _mask_for(predicate: Predicate, queries: int, keys: int, tokens: int) -> Mask | None:
    mask = Mask(predicate, queries, keys, tokens)
    return None if bool(mask.frames().all()) else mask


@lru_cache(maxsize=8)
def _dense(mask: Mask, device: torch.device) -> Tensor:
    return mask.frames().repeat_interleave(mask.tokens, 0).repeat_interleave(mask.tokens, 1).to(device)


@lru_cache(maxsize=8)
def _flex(mask: Mask, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    shape = (mask.queries * mask.tokens, mask.keys * mask.tokens)
    return create_block_mask(lambda batch, head, q, k: mask.sees(q, k), None, None, *shape, device=str(device))  # noqa: ARG005
