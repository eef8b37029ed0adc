"""Convolution over `(T, H, W)` with a window per axis: causal, centred or asymmetric by declaration alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import H, Local, T, W, Window

_PRODUCTS = 2304
"""Products that oneDNN is asked to sum: it takes them one after the other, and long sums lose digits."""

_LONG = 192
"""Channels from which it is asked tap by tap, which takes no longer than all taps at once."""

_POSITIONS = 4096
"""Positions of the frames it is asked for at once: what is added up stays small."""


class Conv3d(Local):
    """A 3D convolution whose padding, stride and dilation along each axis are its windows.

    Weights are named and initialised as `torch.nn.Conv3d`'s. Windows default to pointwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        t: Window | None = None,
        h: Window | None = None,
        w: Window | None = None,
        bias: bool = True,
        groups: int = 1,
    ) -> None:
        super().__init__(t=t, h=h, w=w)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        kernel = [self.windows[axis].kernel for axis in (T, H, W)]
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *kernel))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Conv3d` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def pads_itself(self, window: Window) -> bool:
        return window.mode == "zeros" and window.before == window.after >= 0

    def skips_zeros(self, axis: int, window: Window) -> bool:
        zeros_in_front = window.mode == "zeros" and 0 < window.before < window.span
        return axis == T and zeros_in_front and window.stride == window.dilation == 1

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:
        if not lacking:
            return self._convolve(x, self.weight, padding)
        # the first frames see fewer frames than the kernel has taps: the taps on zeros are left away
        taps = self.windows[T].kernel
        count = x.shape[T] + lacking - taps + 1
        early = [
            self._convolve(x[:, :, : taps - zeros], self.weight[:, :, zeros:], padding)
            for zeros in range(lacking, max(lacking - count, 0), -1)
        ]
        return torch.cat([*early, *([self._convolve(x, self.weight, padding)] if count > lacking else [])], T)

    def _convolve(self, x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> Tensor:
        windows = [self.windows[axis] for axis in (T, H, W)]
        if self.groups == 1 and all(window.is_pointwise for window in windows):  # a matrix product beats conv3d here
            return F.linear(x.permute(0, 2, 3, 4, 1), weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)
        strides, dilations = [w.stride for w in windows], [w.dilation for w in windows]
        if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            if self._sums_are_long(x, weight, padding):
                return self._in_short_sums(x, weight, padding)
            # conv3d leaves oneDNN for a slow loop when a slab is small
            return torch.mkldnn_convolution(x, weight, self.bias, padding, strides, dilations, self.groups)
        y = F.conv3d(x, weight, self.bias, strides, padding, dilations, self.groups)
        if x.is_meta and x.dtype == torch.float32 and self._sums_are_long(x, weight, padding):  # counting: a summand
            y.new_empty(len(weight), _block(y), *y.shape[3:])
        return y

    def _sums_are_long(self, x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> bool:
        """Whether to sum in parts.

        oneDNN sums all at once of several clips, where gradients are asked for, and where so much is padded that no tap
        sees a frame for every answer: the first product has to write them all.
        """
        alone = self.groups == len(x) == self.windows[T].stride == self.windows[T].dilation == 1
        long = x.shape[1] >= _LONG and weight[0].numel() > _PRODUCTS
        return alone and long and 2 * padding[0] < weight.shape[2] and not torch.is_grad_enabled()

    def _in_short_sums(self, x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> Tensor:
        """The convolution as a sum over taps along T and parts of the channels, a block of frames at a time."""
        frames, front, size = x[0].transpose(0, 1), padding[0], _block(x)
        count = len(frames) + 2 * front - weight.shape[2] + 1
        out: Tensor | None = None
        for first in range(0, count, size):
            last, started = min(first + size, count), False
            for tap in sorted(range(weight.shape[2]), key=lambda tap: tap != front):  # first what every frame sees
                start, stop = max(first, front - tap), min(last, len(frames) + front - tap)
                if start >= stop:
                    continue
                seen = frames[start + tap - front : stop + tap - front]
                for product in self._products(seen, weight[:, :, tap], padding[1:], with_bias=not started):
                    if out is None:
                        out = product.new_empty(count, *product.permute(0, 2, 3, 1).shape[1:]).permute(0, 3, 1, 2)
                    if started:
                        out[start:stop].add_(product)
                    else:
                        out[start:stop], started = product, True
        assert out is not None
        return out.transpose(0, 1)[None]

    def _products(self, frames: Tensor, weight: Tensor, padding: Sequence[int], *, with_bias: bool) -> Iterator[Tensor]:
        """What convolutions of parts of the channels of `(frames, C, H, W)` come to, one by one."""
        strides, dilations = ([getattr(self.windows[axis], name) for axis in (H, W)] for name in ("stride", "dilation"))
        channels = frames.shape[1]
        step = ceil(channels / ceil(weight[0].numel() / _PRODUCTS))
        for start in range(0, channels, step):
            part = frames[:, start : start + step]
            part = part if step >= channels else part.contiguous(memory_format=torch.channels_last)
            bias = self.bias if with_bias and not start else None
            kernel = weight[:, start : start + step]
            yield torch.mkldnn_convolution(part, kernel, bias, padding, strides, dilations, 1)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        return x.new_empty(x.shape[0], self.out_channels, t, h, w)


def _block(x: Tensor) -> int:
    """How many frames are summed together."""
    return min(x.shape[T], max(1, _POSITIONS // prod(x.shape[3:])))
