"""Convolution over `(T, H, W)` with a window per axis: causal, centred or asymmetric by declaration alone."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import H, Local, T, W, Window


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
            # conv3d leaves oneDNN for a slow loop when a slab is small
            return torch.mkldnn_convolution(x, weight, self.bias, padding, strides, dilations, self.groups)
        return F.conv3d(x, weight, self.bias, strides, padding, dilations, self.groups)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        return x.new_empty(x.shape[0], self.out_channels, t, h, w)
