"""What operators need while they run, besides arguments and answer; meta tensors do not show it.

Every rule was found by running the one operator alone and comparing the peak of resident memory with its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default
"""Stands for the fused attention kernel of any device: none holds the scores."""


Workspace = Callable[[tuple[Any, ...], dict[str, Any], Any], int]


@cache
def workspace(func: Any, device: str) -> Workspace | None:
    """How many bytes of temporaries `func` takes on `device` ("cpu", "cuda"), given arguments and answer; None if none.

    What cuDNN and cuBLAS reserve is not known here.
    """
    if func in _COPYING:
        return lambda args, _kwargs, _result: 0 if args[0].is_contiguous() else bytes_of(args[0])
    if device != "cpu" or func in _WITHOUT:
        return None
    if func in _ON_CPU:
        rule = _ON_CPU[func]
        return lambda args, kwargs, _result: rule(*args, **kwargs)
    return (lambda args, _kwargs, result: _casts(args, result)) if torch.Tag.pointwise in func.tags else None


CODE_BYTES = 128 << 10
"""What oneDNN keeps of the code for one shape, 80 to 120 KiB where it was measured, and the gaps around what stays."""


@cache
def compiles(func: Any, device: str) -> bool:
    """Whether an operator compiles code for every shape it meets, once a process and `CODE_BYTES` each: oneDNN does."""
    return device == "cpu" and func is aten.convolution.default


def compiled(x: Tensor, weight: Tensor, _bias: Any, *how: Any) -> object | None:
    """What a convolution compiles code for, if it does."""
    return (x.shape, weight.shape, x.dtype, str(how)) if has_onednn(x.dtype) else None


def bytes_of(x: Tensor) -> int:
    """Memory of a dense copy."""
    return x.numel() * x.itemsize


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels lie next to each other, even in a cropped view; a plain clip of one channel is not."""
    return x.ndim > 3 and x.stride(1) == 1 and x.stride(-1) >= x.shape[1] and (x.shape[1] > 1 or not x.is_contiguous())


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether this processor's convolutions of `dtype` go to oneDNN; others unfold their input into columns."""
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return dtype == torch.float32


def _convolution(
    x: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    *_: Any,
) -> int:
    if not has_onednn(x.dtype):
        columns = prod(weight.shape[1:]) * prod(convolved_size(x, weight, stride, padding, dilation)) * len(x)
        one_tap = prod(weight.shape[2:]) == 1
        return (0 if one_tap else columns * x.itemsize) + (0 if x.is_contiguous() else bytes_of(x))
    # weights are reordered into blocks at every call; input and weights are first copied to one layout
    last, dense = _LAYOUTS[x.ndim], {True: 0, False: 1}
    copies = dense[x.is_contiguous(memory_format=last)] * bytes_of(x)
    if is_channels_last(x) or is_channels_last(weight):
        copies += dense[weight.is_contiguous(memory_format=last)] * bytes_of(weight)
    return copies + bytes_of(weight)


def convolved_size(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Lengths of the axes behind the channels."""
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    return [(n + 2 * before - step * (taps - 1) - 1) // every + 1 for n, taps, every, before, step in axes]


def _attention(query: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any) -> int:
    """A block of scores and of the answer per thread, and boolean masks as numbers."""
    block = _ATTENTION_ROWS * (_ATTENTION_COLUMNS + query.shape[-1])
    mask = attn_mask.numel() if attn_mask is not None and attn_mask.dtype == torch.bool else 0
    return torch.get_num_threads() * block * 4 + mask * query.itemsize


def _casts(args: Sequence[Any], result: Tensor) -> int:
    """Pointwise operators first cast every operand of another type than the answer's."""
    operands = (a for a in args if isinstance(a, Tensor) and a.ndim and a.dtype != result.dtype)
    return sum(a.numel() * result.itemsize for a in operands)


_LAYOUTS = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}
_ATTENTION_ROWS, _ATTENTION_COLUMNS = 256, 512
_COPYING = {aten.native_layer_norm.default, aten._softmax.default, aten.avg_pool3d.default}
"""Operators that make their input contiguous, on every device."""
_ON_CPU: dict[Any, Callable[..., int]] = {
    aten.convolution.default: _convolution,
    ATTENTION: _attention,
}
_WITHOUT = {aten.clone.default, aten._to_copy.default, aten.copy_.default}
