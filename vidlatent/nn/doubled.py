"""A convolution of what was doubled in space by repetition, on the grid before the doubling."""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.nn.conv import Conv3d
from vidlatent.nn.resample import Nearest
from vidlatent.streaming import H, PadMode, T, W, Window

_PAIRS = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
"""What the three taps of a kernel come to on two neighbours of the coarse grid, for the first and the second of a pair:
`y[2i] = k0 x[i-1] + (k1 + k2) x[i]` and `y[2i+1] = (k0 + k1) x[i] + k2 x[i+1]`."""


class DoubledConv3d(Conv3d):
    """`Nearest((1, 2, 2))` and then a 3x3 convolution in space, with a window of any kind along T.

    Two of three taps along a doubled axis fall on one position. So each of the four places of a block is a convolution
    of 2x2 taps, sums of the kernel's: 4/9 of the arithmetic, and nothing is repeated in memory. In half precision those
    sums would be rounded, and what is repeated is convolved. `mode` is how the doubled grid is padded.
    """

    taps: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        t: Window | None = None,
        mode: PadMode = "zeros",
        bias: bool = True,
    ) -> None:
        # what is reflected by one is the other half of the pair, so a copy
        edges = Window.centred(3, mode="zeros" if mode == "zeros" else "replicate")
        super().__init__(in_channels, out_channels, t=t, h=edges, w=edges, bias=bias)
        taps = torch.einsum("iax,jby->ijxyab", _PAIRS, _PAIRS).flatten(4).flatten(2, 3)
        self.register_buffer("taps", taps, persistent=False)

    def _convolve(self, x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> Tensor:
        padded = dict(zip((T, H, W), padding, strict=True))
        if x.dtype in (torch.float16, torch.bfloat16):
            wide = Nearest((1, 2, 2)).apply_to(x)
            for axis in (H, W):  # of a position that came as padding, half is enough
                wide = wide if padded[axis] else wide.narrow(axis, 1, wide.shape[axis] - 2)
            return super()._convolve(wide, weight, padding)
        rows, columns = (x.shape[axis] + 2 * padded[axis] - 2 for axis in (H, W))
        kernels, out = weight.flatten(-2), None
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            kernel = (kernels @ self.taps[i, j].to(weight.dtype)).unflatten(-1, (2, 2))
            y = super()._convolve(x, kernel, padding).permute(0, 2, 3, 4, 1)
            if out is None:
                out = y.new_empty(*y.shape[:2], rows, 2, columns, 2, self.out_channels)
            out[:, :, :, i, :, j] = y[:, :, i : i + rows, j : j + columns]
            del y
        assert out is not None
        return out.flatten(4, 5).flatten(2, 3).permute(0, 4, 1, 2, 3)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        return super().empty_like(x, t, 2 * h, 2 * w)
