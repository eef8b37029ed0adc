"""What only moving pictures show: flicker, errors that do not follow the motion, weak frames in a group, seams.

All take clips in [-1, 1] and answer in levels of 255 unless they say otherwise. With e = got - want,

    flicker  = mean |e_{t+1} - e_t|
    warped   = sqrt(sum m |got_{t+1} - W got_t|^2 / sum m),   m = exp(-50 |want_{t+1} - W want_t|^2)
    seam     = mean |e_{i+1} - e_i| across borders / mean |e_{i+1} - e_i| elsewhere

W moves a frame as `want` moves. The mask m, on values in [0, 1], leaves out what the motion does not explain (Lai et
al. 2018, arXiv:1808.00449).
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.metrics.accumulator import Accumulator, FramePairs, check_clips
from vidlatent.metrics.bands import bands
from vidlatent.metrics.flow import Motion, enlarge, warp
from vidlatent.metrics.quality import decibels, frame_errors

_LEVELS = 127.5
_SHARPNESS = 50.0


def flicker(got: Tensor, want: Tensor) -> float:
    """Mean absolute error of frame differences of clips (B, C, T, H, W), in levels of 255; needs two frames."""
    measure = Flicker()
    measure.update(got, want)
    return measure.compute()


def warped_error(got: Tensor, want: Tensor) -> float:
    """RMS change along the motion of clips (B, C, T, H, W), in levels of 255; see `WarpedError`."""
    measure = WarpedError()
    measure.update(got, want)
    return measure.compute()


class Flicker(FramePairs):
    """Mean absolute error of frame differences, in levels of 255."""

    def _measure(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], index: int) -> None:  # noqa: ARG002
        for rows in bands(after[0].shape[2], after[0][:, :, 0].numel()):
            late, early = ((got[:, :, rows] - want[:, :, rows]).double() for got, want in (after, before))
            self._add("sum", float((late - early).abs().sum()) * _LEVELS)
        self._add("values", after[0].numel())

    def compute(self) -> float:
        """The mean over all pairs of frames so far. Raises `InputError` if there are none."""
        return self._mean("sum", "values")


class WarpedError(FramePairs):
    """RMS change of a reconstruction along the motion of the original, in levels of 255.

    The original has such a change too, `reference()`: what is above it is the reconstruction's.

    Args:
        motion: Of the one clip that is measured, where others are measured beside it (not part of the state).
    """

    def __init__(self, motion: Motion | None = None) -> None:
        super().__init__()
        self._motion = motion or Motion(most_bytes=0)

    def _measure(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], index: int) -> None:
        flow = enlarge(self._motion.into(index, after[1], before[1]), after[1].shape[-2:])
        for rows in bands(flow.shape[-2], after[1][:, :, 0].numel()):
            got, want = (
                (frame[:, :, rows] - warp(earlier, flow[:, :, rows], rows.start)).double() / 2
                for frame, earlier in zip(after, before, strict=True)
            )
            mask = torch.exp(-_SHARPNESS * want.square().sum(1, keepdim=True))
            self._add("got", float((mask * got.square()).sum()))
            self._add("want", float((mask * want.square()).sum()))
            self._add("mask", float(mask.sum()) * want.shape[1])

    def compute(self) -> float:
        """RMS over all pairs of frames so far. Raises `InputError` if there are none."""
        return 255 * self._mean("got", "mask") ** 0.5

    def reference(self) -> float:
        """The same of the original itself."""
        return 255 * self._mean("want", "mask") ** 0.5


class GroupPSNR(Accumulator):
    """PSNR by position in the group of frames that one latent frame holds: tells causal models' first-frame bias.

    Args:
        group: Frames in a latent frame, the stride along T.
        first_frame: "single" where the first latent frame holds one frame, which is position 0 by itself, before the
            positions 1..group of all others; "grouped" where every latent frame holds `group`, positions 0..group-1.
    """

    def __init__(self, group: int, first_frame: str = "single") -> None:
        super().__init__(group=group, first_frame=first_frame)
        self._group, self._single = group, first_frame == "single"
        size = group + self._single
        self.sums = {"errors": torch.zeros(size, dtype=torch.double), "frames": torch.zeros(size, dtype=torch.double)}
        self._next: dict[Hashable, int] = {}

    def update(self, got: Tensor, want: Tensor, *, clip: Hashable = 0, start: int | None = None) -> None:
        """Take in frames (B, C, T, H, W) of `clip` from number `start` on; None goes on where it stopped."""
        check_clips(got, want)
        first = self._next.get(clip, 0) if start is None else start
        self._next[clip] = first + got.shape[2]
        for index, error in enumerate(frame_errors(got, want).sum(0), start=first):
            position = self._position(index)
            self.sums["errors"][position] += error.cpu()
            self.sums["frames"][position] += len(got)

    def _position(self, index: int) -> int:
        if not self._single:
            return index % self._group
        return 0 if index == 0 else 1 + (index - 1) % self._group

    def compute(self) -> list[float | None]:
        """PSNR in dB at each position, None where no frame was."""
        pairs = zip(self.sums["errors"].tolist(), self.sums["frames"].tolist(), strict=True)
        return [decibels(error / count) if count else None for error, count in pairs]


class Seams(FramePairs):
    """How much more the error changes across slab borders than elsewhere: 1 is invisible.

    Args:
        borders: Frames, rows and columns between two borders, each None where that axis is not cut.
        grain: Compare only at multiples of these, such as a latent's frames, rows and columns.
        first_frames: Frames before the first border in time, where that is not one of `borders`' runs.
    """

    def __init__(
        self,
        borders: tuple[int | None, int | None, int | None],
        *,
        grain: tuple[int, int, int] = (1, 1, 1),
        first_frames: int = 0,
    ) -> None:
        if not any(borders):
            raise InputError("borders=(None, None, None): name at least one axis that is cut")
        super().__init__(borders=borders, grain=grain, first_frames=first_frames)
        self._borders, self._grain, self._first_frames = borders, grain, first_frames

    def update(self, got: Tensor, want: Tensor, *, clip: Hashable = 0, start: int | None = None) -> None:
        super().update(got, want, clip=clip, start=start)
        error = (got - want).double()
        for axis, period, grain in zip((3, 4), self._borders[1:], self._grain[1:], strict=True):
            if period:
                change = error.diff(dim=axis).abs().transpose(0, axis).flatten(1).sum(1)[grain - 1 :: grain]
                border = torch.arange(grain, error.shape[axis], grain, device=error.device) % period == 0
                self._count(change, border, error.numel() // error.shape[axis])

    def _measure(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], index: int) -> None:
        place = index - self._first_frames
        if (period := self._borders[0]) and place % self._grain[0] == 0:
            change = ((after[0] - after[1]) - (before[0] - before[1])).double().abs().sum().reshape(1)
            self._count(change, torch.tensor([place % period == 0], device=change.device), before[0].numel())

    def _count(self, change: Tensor, border: Tensor, values: int) -> None:
        for place, chosen in (("border", border), ("inside", ~border)):
            self._add(place, float(change[chosen].sum()))
            self._add(f"{place}_values", int(chosen.sum()) * values)

    def compute(self) -> float | None:
        """The ratio; None where there was no border, or no error away from them."""
        if not self.sums.get("border_values") or not self.sums.get("inside"):
            return None
        return self._mean("border", "border_values") / self._mean("inside", "inside_values")
