"""Scaled dot-product attention, softmax(q k^T / sqrt(d)) v, by whichever kernel fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.diffusion.masks import Mask
from vidlatent.errors import MissingDependency
from vidlatent.nn.attention import installed

Backend = Literal["sdpa", "flex", "flash", "xformers"]

_LARGE = 1 << 22
"""Pairs of tokens from which a compiled block mask pays; small ones come in many shapes, each compiled anew."""


def choose_backend(query: Tensor, mask: Mask | None) -> Backend:
    """On CUDA: FlexAttention for large masks; without a mask flash-attn or xformers, where installed; else SDPA."""
    if not query.is_cuda:
        return "sdpa"
    if mask is not None:
        return "flex" if mask.queries * mask.keys * mask.tokens**2 > _LARGE else "sdpa"
    half = query.dtype in (torch.float16, torch.bfloat16)
    if half and installed("flash_attn"):
        return "flash"
    return "xformers" if half and installed("xformers") else "sdpa"


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Mask | None = None, backend: Backend | None = None
) -> Tensor:
    """Attention of `(B, queries, heads, d)` to `(B, keys, heads, d)`; `backend` None chooses one."""
    return _KERNELS[backend or choose_backend(query, mask)](query, key, value, mask)


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Mask | None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    dense = None if mask is None else mask.dense(query.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=dense).transpose(1, 2)


def _flex(query: Tensor, key: Tensor, value: Tensor, mask: Mask | None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    kernel = _flex_kernel(compiled=query.is_cuda)
    return kernel(q, k, v, block_mask=None if mask is None else mask.flex(query.device)).transpose(1, 2)


def _flash(query: Tensor, key: Tensor, value: Tensor, mask: Mask | None) -> Tensor:
    if mask is not None:
        return _flex(query, key, value, mask)
    return _import("flash_attn", "flash").flash_attn_func(query, key, value)


def _xformers(query: Tensor, key: Tensor, value: Tensor, mask: Mask | None) -> Tensor:
    if mask is not None:
        return _flex(query, key, value, mask)
    return _import("xformers.ops", "xformers").memory_efficient_attention(query, key, value)


_KERNELS: dict[str, Callable[[Tensor, Tensor, Tensor, Mask | None], Tensor]] = {
    "sdpa": _sdpa,
    "flex": _flex,
    "flash": _flash,
    "xformers": _xformers,
}


def _import(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(module.partition(".")[0], extra) from error


@cache
def _flex_kernel(*, compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if compiled else flex_attention
