"""The footprint of a local operator along one axis, and padding as that footprint asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

T, H, W = 2, 3, 4
"""The axes of a clip `(B, C, T, H, W)`, as tensor dimensions."""

PadMode = Literal["zeros", "replicate", "reflect"]


@dataclass(frozen=True)
class Window:
    """Footprint of a local operator along one axis.

    Output `i` reads the padded inputs `i * stride + j * dilation` for `j < kernel`. `before` and `after` are the
    padding; negative padding crops, which is how a causal autoencoder keeps its first frame single.
    """

    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    mode: PadMode = "zeros"
    dilation: int = 1

    def __post_init__(self) -> None:
        if min(self.kernel, self.stride, self.dilation) < 1:
            raise ValueError(f"kernel, stride and dilation must be at least 1, got {self}")
        if self.mode not in ("zeros", "replicate", "reflect"):
            raise ValueError(f"mode must be 'zeros', 'replicate' or 'reflect', got {self.mode!r}")

    @classmethod
    def causal(cls, kernel: int, stride: int = 1, mode: PadMode = "zeros", dilation: int = 1) -> Window:
        """Sees the present and the past only."""
        return cls(kernel, stride, (kernel - 1) * dilation, 0, mode, dilation)

    @classmethod
    def centred(cls, kernel: int, stride: int = 1, mode: PadMode = "zeros", dilation: int = 1) -> Window:
        """Sees as much of what comes as of what came (odd kernels)."""
        reach = (kernel - 1) * dilation // 2
        return cls(kernel, stride, reach, reach, mode, dilation)

    @property
    def span(self) -> int:
        """Number of consecutive padded inputs that one output reads across."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_pointwise(self) -> bool:
        """Whether every input gives one output and needs no neighbour."""
        return self.span == self.stride == 1 and self.before == self.after == 0

    @property
    def needed(self) -> int:
        """Inputs that must have been seen before the front can be padded."""
        return max(self.before, self.after, 0) + 1 if self.mode == "reflect" else 1

    @property
    def history(self) -> int:
        """Last inputs that must be kept, consumed or not, because padding the end will copy them."""
        if self.after <= 0:
            return 0
        if self.mode == "zeros":  # of zeros alone a window may be full: something must be left to pad
            return int(self.after >= self.span)
        return 1 if self.mode == "replicate" else self.after + 1

    def num_valid(self, length: int) -> int:
        """Number of outputs over `length` inputs that are already padded."""
        return max(0, (length - self.span) // self.stride + 1)

    def num_outputs(self, length: int) -> int:
        """Number of outputs over a whole axis of `length` inputs."""
        return self.num_valid(length + self.before + self.after) if length else 0


def pad(x: Tensor, axis: int, before: int, after: int, mode: PadMode) -> Tensor:
    """Pad one axis by `before` and `after` items (>= 0); shorter axes reflect back and forth as often as needed."""
    length = x.shape[axis]
    if before == after == 0 or length == 0:
        return x
    if mode == "zeros":
        return F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [before, after])
    front, back = (
        [x.narrow(axis, source, 1) for source in _source(places, length, mode)]
        for places in (range(-before, 0), range(length, length + after))
    )
    return torch.cat([*front, x, *back], axis)


def pad_whole(x: Tensor, windows: dict[int, Window]) -> Tensor:
    """Pad whole axes as their windows ask for (none crops), with one copy for all of them."""
    if len(windows) < 2 or torch.is_grad_enabled() or not x.numel():
        for axis, window in windows.items():
            x = pad(x, axis, window.before, window.after, window.mode)
        return x
    sizes = list(x.shape)
    for axis, window in windows.items():
        sizes[axis] += window.before + window.after
    innermost = x.stride(1) == 1 and x.ndim == 5
    layout = torch.channels_last_3d if innermost else torch.contiguous_format
    out = torch.empty(sizes, dtype=x.dtype, device=x.device, memory_format=layout)
    inside = [out]  # whole along the axes that are filled, the clip's own along those that are not
    for axis, window in windows.items():
        inside.append(inside[-1].narrow(axis, window.before, x.shape[axis]))
    inside.pop().copy_(x)
    for (axis, window), wide in zip(reversed(windows.items()), reversed(inside), strict=True):
        _fill_ends(wide, axis, window, x.shape[axis])
    return out


def _fill_ends(out: Tensor, axis: int, window: Window, length: int) -> None:
    """Write what stands before and behind the `length` items of an axis that are there."""
    places = [*range(-window.before, 0), *range(length, length + window.after)]
    for place, source in zip(places, _source(places, length, window.mode), strict=True):
        end = out.narrow(axis, window.before + place, 1)
        if window.mode == "zeros":
            end.zero_()
        else:
            end.copy_(out.narrow(axis, window.before + source, 1))


def _source(positions: Iterable[int], length: int, mode: PadMode) -> list[int]:
    """Which real item stands at each position outside the axis."""
    if mode == "replicate" or length == 1:
        return [min(max(i, 0), length - 1) for i in positions]
    period = 2 * (length - 1)
    return [min(i % period, period - i % period) for i in positions]
