"""The transformer's parts, on tokens `(B, t, tokens, D)`: every latent frame is one group of tokens.

adaLN-single (arXiv:2310.00426): one network gives six vectors a frame, to which each block adds a table of its own.

    x = x + gate_1 * Attention((1 + scale_1) * norm(x) + shift_1)
    x = x + CrossAttention(norm(x), text)
    x = x + gate_2 * SwiGLU((1 + scale_2) * norm(x) + shift_2)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.diffusion.attention import Backend, attend
from vidlatent.diffusion.cache import KVCache
from vidlatent.diffusion.masks import Mask
from vidlatent.diffusion.rope import rotate

EPS = 1e-6


@dataclass(frozen=True)
class Pass:
    """What all blocks share in one forward pass.

    `turns` are the rotations of all keys, the new frames' last; `text` is `(B, L, D)` with `text_mask` `(B, L)`.
    """

    turns: Tensor
    mask: Mask | None
    text: Tensor | None
    text_mask: Tensor | None
    cache: KVCache | None
    commit: bool
    backend: Backend | None


class ScaledNorm(nn.RMSNorm):
    """RMS norm with learned scales, in their precision whatever comes in (under autocast: half)."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class SelfAttention(nn.Module):
    """Attention of frames to those they see, with an RMS norm on every head's queries and keys."""

    def __init__(self, dim: int, heads: int, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = heads, layer
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.query_norm = ScaledNorm(dim // heads, eps=EPS)
        self.key_norm = ScaledNorm(dim // heads, eps=EPS)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, shared: Pass) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.to_qkv(x).chunk(3, -1))
        query, key = self.query_norm(query), self.key_norm(key)
        if shared.cache is not None:
            key, value = shared.cache.extend(self.layer, key, value, stage=shared.commit)
        query, key = rotate(query, shared.turns[:, :, -x.shape[1] :]), rotate(key, shared.turns)
        out = attend(query.flatten(1, 2), key.flatten(1, 2), value.flatten(1, 2), shared.mask, shared.backend)
        return self.to_out(out.flatten(2).view_as(x))


class CrossAttention(nn.Module):
    """Attention of every token to the text."""

    def __init__(self, dim: int, heads: int, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = heads, layer
        self.norm = ScaledNorm(dim, eps=EPS)
        self.to_query = nn.Linear(dim, dim)
        self.to_key_value = nn.Linear(dim, 2 * dim)
        self.query_norm = ScaledNorm(dim // heads, eps=EPS)
        self.key_norm = ScaledNorm(dim // heads, eps=EPS)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, shared: Pass) -> Tensor:
        text = shared.text
        assert text is not None
        query = self.query_norm(self.to_query(self.norm(x)).unflatten(-1, (self.heads, -1))).flatten(1, 2)
        if shared.cache is None or torch.is_grad_enabled():
            key, value = self._keys_values(text)
        else:
            key, value = shared.cache.constant(self.layer, text, lambda: self._keys_values(text))
        mask = None if shared.text_mask is None else shared.text_mask[:, None, None]
        q, k, v = (part.transpose(1, 2) for part in (query, key, value))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        return self.to_out(out.flatten(2).view_as(x))

    def _keys_values(self, text: Tensor) -> tuple[Tensor, Tensor]:
        key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.to_key_value(text).chunk(2, -1))
        return self.key_norm(key), value


class SwiGLU(nn.Module):
    """`W3 (silu(W1 x) * W2 x)` (arXiv:2002.05202), with 8/3 of the width hidden, in multiples of 16."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = -(-8 * dim // 48) * 16
        self.to_hidden = nn.Linear(dim, 2 * hidden)
        self.to_out = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.to_hidden(x).chunk(2, -1)
        return self.to_out(F.silu(gate) * value)


class Block(nn.Module):
    """One layer of the transformer; starts as the identity, since its gates start at zero."""

    def __init__(self, dim: int, heads: int, layer: int, *, text: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(6, dim))
        self.norm = nn.RMSNorm(dim, eps=EPS, elementwise_affine=False)
        self.attention = SelfAttention(dim, heads, layer)
        self.cross_attention = CrossAttention(dim, heads, layer) if text else None
        self.mlp = SwiGLU(dim)

    def forward(self, x: Tensor, modulation: Tensor, shared: Pass) -> Tensor:
        """`modulation` is `(B, t, 6, D)`, the same for all blocks."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (modulation + self.table).unsqueeze(-2).unbind(2)
        x = x + gate_1 * self.attention(torch.addcmul(shift_1, self.norm(x), 1 + scale_1), shared)
        if self.cross_attention is not None:
            x = x + self.cross_attention(x, shared)
        return x + gate_2 * self.mlp(torch.addcmul(shift_2, self.norm(x), 1 + scale_2))


class Head(nn.Module):
    """Last norm, modulated by its frame, and the projection to a patch, which starts at zero."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=EPS, elementwise_affine=False)
        self.table = nn.Parameter(torch.zeros(2, dim))
        self.to_out = nn.Linear(dim, out)

    def forward(self, x: Tensor, frame: Tensor) -> Tensor:
        """`frame` is the embedding `(B, t, D)` of each frame's noise level and conditions."""
        shift, scale = (frame.unsqueeze(2) + self.table).unsqueeze(-2).unbind(2)
        return self.to_out(torch.addcmul(shift, self.norm(x), 1 + scale))
