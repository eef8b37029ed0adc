"""Moving between grids: blocks to channels and back, nearest neighbours, first-frame rules, fitting the strides.

A causal autoencoder that keeps its first frame single is written with `Trim` (negative padding) after an upsampler or
`first="replicate"` padding before a downsampler; nothing else knows about first frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vidlatent.nn.combine import branch
from vidlatent.nn.passed import frames_before
from vidlatent.streaming import H, Local, PadMode, Pointwise, State, Sweep, Sweepable, T, W, Window
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import concat
from vidlatent.streaming.window import pad

Factors = tuple[int, int, int]
"""Factors along (T, H, W)."""


class SpaceToDepth(Local):
    """Fold each block of `factors` into channels: `(B, C, T, H, W)` to `(B, C*t*h*w, T/t, H/h, W/w)`.

    Channels come out in the order (C, t, h, w). `before` pads the front of T with copies of the first frame, so that
    with `before = t - 1` the first frame is a block of its own.
    """

    def __init__(self, factors: Factors, *, before: int = 0, mode: PadMode = "replicate") -> None:
        t, h, w = factors
        super().__init__(t=Window(t, t, before, 0, mode), h=Window(h, h), w=Window(w, w))
        self.factors = factors

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        t, h, w = self.factors
        b, c, frames, rows, columns = x.shape
        frames, rows, columns = frames // t, rows // h, columns // w
        x = x[:, :, : frames * t, : rows * h, : columns * w]
        blocks = x.reshape(b, c, frames, t, rows, h, columns, w).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return blocks.reshape(b, frames, rows, columns, -1).permute(0, 4, 1, 2, 3)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        ft, fh, fw = self.factors
        return x.new_empty(x.shape[0], x.shape[1] * ft * fh * fw, t, h, w)


class DepthToSpace(Pointwise):
    """Unfold channels into blocks of `factors` (pixel shuffle): the inverse of `SpaceToDepth`."""

    def __init__(self, factors: Factors) -> None:
        super().__init__()
        self.factors = factors

    def apply_to(self, x: Tensor) -> Tensor:
        t, h, w = self.factors
        b, c, frames, rows, columns = x.shape
        blocks = x.permute(0, 2, 3, 4, 1).reshape(b, frames, rows, columns, c // (t * h * w), t, h, w)
        blocks = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4)
        return blocks.reshape(b, frames * t, rows * h, columns * w, c // (t * h * w)).permute(0, 4, 1, 2, 3)


class Nearest(Pointwise):
    """Repeat every position `factors` times along each axis."""

    def __init__(self, factors: Factors) -> None:
        super().__init__()
        self.factors = factors

    def apply_to(self, x: Tensor) -> Tensor:
        t, h, w = self.factors
        b, c, frames, rows, columns = x.shape
        blocks = x.permute(0, 2, 3, 4, 1)[:, :, None, :, None, :, None]
        blocks = blocks.expand(b, frames, t, rows, h, columns, w, c)
        return blocks.reshape(b, frames * t, rows * h, columns * w, c).permute(0, 4, 1, 2, 3)


class Trim(Local):
    """Drop the first `before` and the last `after` items of one axis."""

    def __init__(self, axis: int, *, before: int = 0, after: int = 0) -> None:
        window = Window(before=-before, after=-after)
        super().__init__(**{{T: "t", H: "h", W: "w"}[axis]: window})

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        return x


class FirstFrame(Sweepable):
    """The first frame as it is, then `body(x)`: how Wan keeps frame 0 out of its temporal resampling.

    `body` must keep channels and space; it sees the first frame too (start it with `Trim` to hide it).
    """

    def __init__(self, body: Sweepable) -> None:
        super().__init__()
        self.first, self.body = _First(), body

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        first, rest = branch(self, [self.first, self.body], x, sweep, (H,))
        return rest if sweep and sweep.passes(first) and sweep.passes(rest) else concat([first, rest], T)


class _First(Sweepable):
    """The first frame, and none of the others."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and T in sweep.axes and sweep.passes(x):
            return x
        return x[:, :, : 0 if frames_before(self, x, sweep) else 1]


class Fit(Sweepable):
    """Pad the end of each axis with copies of its last item, until its length is `1 + k * multiple` or `k * multiple`.

    `multiples` along (T, H, W); `single_first` asks for the first form along T, with `run` of what is left of whole
    runs of so many frames. What a caller adds this way is cropped back after decoding, so nothing is ever dropped.
    """

    def __init__(self, multiples: Factors, *, single_first: bool, run: int = 0) -> None:
        super().__init__()
        self.multiples = dict(zip((T, H, W), multiples, strict=True))
        self.single_first, self.run = single_first, run

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        for axis, multiple in self.multiples.items():
            if sweep and axis in sweep.axes:
                seen = sweep.state(self, axis, _Seen)
                seen.note(x, axis)
                if sweep.last[axis]:
                    x = seen.fill(x, axis, self._missing(seen.count, axis, multiple))
            else:
                x = pad(x, axis, 0, self._missing(x.shape[axis], axis, multiple), "replicate")
        return x

    def _missing(self, count: int, axis: int, multiple: int) -> int:
        """How many items are to be added to so many."""
        if axis != T or not self.single_first:
            return -count % multiple
        rest = count % self.run if self.run else count
        return (1 - rest) % multiple if rest or not self.run else 0


@dataclass
class _Seen(State):
    """How many items went by, and the last of them to copy."""

    count: int = 0
    edge: Tensor | Kept | None = None

    def note(self, x: Tensor, axis: int) -> None:
        """What goes by."""
        length = x.shape[axis]
        if length:
            if self.edge is not None:
                self.shelf.drop(self.edge)
            self.count += length
            self.edge = self.shelf.put(x.narrow(axis, length - 1, 1))

    def fill(self, x: Tensor, axis: int, missing: int) -> Tensor:
        """Add so many copies of the last item."""
        if self.edge is None or not missing:
            return x
        self.count += missing  # should the end be announced again
        edge, self.edge = self.shelf.get(self.edge), None
        return concat([x, *[edge] * missing], axis)
