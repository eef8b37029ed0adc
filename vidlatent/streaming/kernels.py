"""What the common operators answer on meta tensors, in the layouts of the real kernels.

torch answers most of them in Python, which takes longer than many a small kernel, imports its compiler, and lays some
answers out otherwise. Whatever is not listed here is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from itertools import zip_longest
from math import ceil
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vidlatent.streaming.shelf import dense_strides
from vidlatent.streaming.workspace import ATTENTION, aten, convolved_size, has_onednn, is_channels_last


class FusedKernels(TorchFunctionMode):
    """Keep together what torch takes apart on meta tensors but not on `device`: attention, and on CPUs group norm.

    Torch asks it for every attribute of a tensor too, which takes long: `used` says whether it was of use.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.used = device, False

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            self.used = True
            return fused_attention(*args, **(kwargs or {}))
        if func is F.group_norm and self.device == "cpu":
            self.used = True
            return _group_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, **options: Any
) -> Tensor:
    """As `scaled_dot_product_attention` answers on devices, for meta tensors: in one piece wherever it can be."""
    fused = query.ndim == 4 and query.shape[:2] == key.shape[:2] and query.shape[-1] == value.shape[-1]
    fused = fused and query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    if not fused or dropout_p or not query.numel() or options.get("enable_gqa"):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, **options)
    return ATTENTION(query, key, value, attn_mask=attn_mask)[0]


def _group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    x = x.contiguous(memory_format=_layout(x))
    count = x.numel() // max(1, x.shape[0] * x.shape[1])
    return aten.native_group_norm(x, weight, bias, x.shape[0], x.shape[1], count, num_groups, eps)[0]


@cache
def answer(func: Any, device: str) -> Callable[..., Any]:
    """A function that answers as `func` on `device` would: same shape, type and layout; maybe `func` itself."""
    if func is aten.convolution.default:
        return lambda *args: _convolution(func, device, *args)
    if func in _ANSWERS:
        return _ANSWERS[func]
    if effect(func) == "write" and (torch.Tag.pointwise in func.tags or func is aten.copy_.default):
        return lambda *args, **kwargs: kwargs.get("out", args[0])
    if func.overloadpacket in _COMPARING and effect(func) == "new":
        return lambda x, other, **kwargs: _compared(func, x, other, **kwargs)
    if func.overloadpacket in _POINTWISE and effect(func) == "new":
        return lambda *args, **kwargs: _pointwise(func, *args, **kwargs)
    return func


@cache
def effect(func: Any) -> Literal["new", "write", "view"]:
    """Whether an operator answers with new memory, or with its arguments' (in place or `out=`; or untouched)."""
    aliases = [value.alias_info for value in func._schema.returns if value.alias_info is not None]
    if not aliases:
        return "new"
    return "write" if any(alias.is_write for alias in aliases) else "view"


def _empty(x: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None, layout: Any = None) -> Tensor:
    layout = layout or torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype or x.dtype, device=x.device, memory_format=layout)


def _layout(x: Tensor) -> Any:
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return last if is_channels_last(x) and x.ndim < 6 else torch.contiguous_format


def _like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Dense, with the axes in the same order in memory."""
    return torch.empty_strided(x.shape, dense_strides(x), dtype=dtype or x.dtype, device=x.device)


def _empty_like(
    x: Tensor, *, memory_format: Any = None, dtype: torch.dtype | None = None, device: Any = None, **options: Any
) -> Tensor:
    if memory_format not in (None, torch.preserve_format) or device not in (None, x.device):
        return aten.empty_like.default(x, memory_format=memory_format, dtype=dtype, device=device, **options)
    return _like(x, dtype)


def _clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    return _like(x) if memory_format in (None, torch.preserve_format) else _empty(x, x.shape, layout=memory_format)


def _convolution(
    func: Any,
    device: str,
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Tensor:
    if transposed or x.ndim not in (4, 5):
        return func(x, weight, bias, stride, padding, dilation, transposed, *rest)
    follows = device != "cpu" or has_onednn(x.dtype)
    layouts = {_layout(x), _layout(weight)} - {torch.contiguous_format} if follows else set()
    shape = (len(x), len(weight), *convolved_size(x, weight, stride, padding, dilation))
    return _empty(x, shape, layout=next(iter(layouts), None))


def _pointwise(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    given = [a for a in args if isinstance(a, Tensor)]
    tensors = [a for a in given if a.ndim] or given
    if not any(t.is_floating_point() for t in tensors) and not _stays_whole(func, args):
        return func(*args, **kwargs)
    x = max(tensors, key=Tensor.numel)
    dtype = reduce(torch.promote_types, [t.dtype for t in tensors])
    if all(_spreads(t, x) for t in tensors):
        return _like(x, dtype)
    return _empty(x, _broadcast([t.shape for t in tensors]), dtype)


def _stays_whole(func: Any, args: Sequence[Any]) -> bool:
    """Whether an operator makes whole numbers of these, of which none is a floating point tensor."""
    others = any(isinstance(a, float) or (isinstance(a, Tensor) and a.dtype == torch.bool) for a in args)
    return func.overloadpacket in _WHOLE and not others


def _compared(func: Any, x: Tensor, other: Any, **kwargs: Any) -> Tensor:
    alike = not isinstance(other, Tensor) or not other.ndim or other.shape == x.shape
    return _like(x, torch.bool) if alike else func(x, other, **kwargs)


def _broadcast(shapes: list[torch.Size]) -> list[int]:
    """The common shape; torch's own function imports its compiler."""
    axes = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return [0 if 0 in sizes else max(sizes) for sizes in axes][::-1]


def _spreads(x: Tensor, over: Tensor) -> bool:
    """Whether `x` broadcasts to the shape of `over`."""
    if x.shape == over.shape:
        return True
    return x.ndim <= over.ndim and all(n in (1, m) for n, m in zip(x.shape[::-1], over.shape[::-1], strict=False))


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor:
    first = tensors[0]
    shape = list(first.shape)
    shape[dim] = sum(x.shape[dim] for x in tensors)
    layouts = {_layout(x) for x in tensors}
    if any(x.ndim != first.ndim or x.dtype != first.dtype for x in tensors):
        return aten.cat.default(tensors, dim)
    return _empty(first, shape, layout=layouts.pop() if len(layouts) == 1 else None)


def _padded(x: Tensor, sides: Sequence[int], _value: float = 0) -> Tensor:
    shape = list(x.shape)
    for axis, (before, after) in enumerate(zip(sides[::2], sides[1::2], strict=True), 1):
        shape[-axis] += before + after
    return _empty(x, shape, layout=_layout(x))


def _stacked(tensors: list[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return _empty(tensors[0], shape)


def _repeated(x: Tensor, times: Sequence[int]) -> Tensor:
    shape = (*[1] * (len(times) - x.ndim), *x.shape)
    return _empty(x, [n * count for n, count in zip(shape, times, strict=True)])


def _vector_norm(
    x: Tensor, order: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    if dim is None or not keepdim:
        return aten.linalg_vector_norm.default(x, order, dim, keepdim, dtype=dtype)
    return _reduced(x, dim, keepdim, dtype=dtype)


def _reduced(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """Floating point numbers, less `dim` or all axes."""
    axes = {axis % x.ndim for axis in dim} if dim else set(range(x.ndim))
    return _empty(x, [1 if a in axes else n for a, n in enumerate(x.shape) if keepdim or a not in axes], dtype)


def _sum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    floats = x.is_floating_point()
    return _reduced(x, dim, keepdim, dtype=dtype) if floats else aten.sum.dim_IntList(x, dim, keepdim, dtype=dtype)


def _arange(end: Any, *, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Tensor:
    dtype = dtype or (torch.get_default_dtype() if isinstance(end, float) else torch.long)
    return torch.empty(ceil(end), dtype=dtype, device=device)


def _layer_norm(x: Tensor, normalized_shape: Sequence[int], *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    ones = len(normalized_shape)
    statistics = (*x.shape[: x.ndim - ones], *[1] * ones)
    return _empty(x, x.shape), _empty(x, statistics), _empty(x, statistics)


def _group_normed(x: Tensor, _weight: Any, _bias: Any, n: int, _c: int, _count: int, groups: int, *_: Any) -> Any:
    return _like(x), _empty(x, (n, groups)), _empty(x, (n, groups))


def _batch_normed(x: Tensor, _weight: Any, _bias: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Any:
    if training:
        return aten.native_batch_norm.default(x, _weight, _bias, mean, var, training, *rest)
    return _like(x), _empty(x, (0,)), _empty(x, (0,))


def _attended(query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return _like(query), _empty(query, query.shape[:3], torch.float32)


_ANSWERS: dict[Any, Callable[..., Any]] = {
    ATTENTION: _attended,
    aten.constant_pad_nd.default: _padded,
    aten.stack.default: _stacked,
    aten.eye.default: lambda n, **options: torch.empty(n, n, dtype=options.get("dtype"), device=options.get("device")),
    aten.addmm.default: lambda _, a, b, **__: _empty(a, (a.shape[0], b.shape[1])),
    aten.mm.default: lambda a, b: _empty(a, (a.shape[0], b.shape[1])),
    aten.bmm.default: lambda a, b: _empty(a, (*a.shape[:2], b.shape[2])),
    aten.arange.default: _arange,
    aten.arange.start: lambda start, end, **options: _arange(end - start, **options),
    aten.cat.default: _cat,
    aten.clone.default: _clone,
    aten.empty_like.default: _empty_like,
    aten.full_like.default: lambda x, _, **options: _empty_like(x, **options),
    aten.linalg_vector_norm.default: _vector_norm,
    aten.repeat.default: _repeated,
    aten.mean.dim: _reduced,
    aten.sum.dim_IntList: _sum,
    aten.zeros_like.default: _empty_like,
    aten.tril.default: lambda x, _=0: _like(x),
    aten.native_batch_norm.default: _batch_normed,
    aten.native_group_norm.default: _group_normed,
    aten.native_layer_norm.default: _layer_norm,
}
_POINTWISE = {
    *(aten.add, aten.sub, aten.mul, aten.div, aten.pow, aten.sqrt, aten.rsqrt, aten.reciprocal, aten.neg, aten.exp),
    *(aten.clamp, aten.clamp_min, aten.clamp_max, aten.sigmoid, aten.tanh, aten.silu, aten.gelu, aten.relu),
    *(aten.lerp, aten.cos, aten.sin, aten.sign, aten.abs, aten.round, aten.floor, aten.maximum, aten.minimum),
    *(aten.log, aten.log2, aten.exp2, aten.atanh, aten.tan, aten.remainder, aten.floor_divide),
}
_COMPARING = {aten.eq, aten.ne, aten.lt, aten.le, aten.gt, aten.ge}
_WHOLE = {aten.add, aten.sub, aten.mul, aten.remainder, aten.floor_divide}
"""Of whole numbers these make whole numbers."""
