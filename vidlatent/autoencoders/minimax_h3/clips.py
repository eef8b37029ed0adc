"""Modules that are defined on clips of so many frames and on tiles, whatever slabs a sweep brings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vidlatent.autoencoders.minimax_h3.layout import Layout, in_tiles
from vidlatent.autoencoders.tiles import cross_fade
from vidlatent.streaming import Gather, H, Local, Plan, State, Sweep, Sweepable, T, Window, run
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import join


class InClips(Local):
    """Base of modules that take a clip of frames at a time, all rows of it; the rest of the frames may come later.

    A sweep holds back rows until it has all of a slab of frames, and frames until it has a clip. `frames` and `rows`
    are how many one answer needs, which is all that a planner has to know.
    """

    axes = (H,)

    def __init__(self, frames: int, rows: int) -> None:
        super().__init__(t=Window(frames, after=frames - 1), h=Window(rows, after=rows - 1))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep is None:
            return self._joined(self.clips(x, _Clips(), None, last=True), x)
        if sweep.passes(x):
            return x
        inside = Plan(sweep.axes, chunk=max(x.shape[T], 1), strip=max(x.shape[H], 1))
        whole = self._rows(x, sweep) if H in sweep.axes else x
        if whole is None:
            return x.narrow(H, 0, 0)
        if T not in sweep.axes:
            return self._joined(self.clips(whole, _Clips(), inside, last=True), whole)
        held = sweep.state(self, T, _Clips, shared=True)
        return self._joined(self.clips(whole, held, inside, last=sweep.last[T]), whole)

    def _rows(self, x: Tensor, sweep: Sweep) -> Tensor | None:
        """All rows of these frames, when the last have come."""
        gather = sweep.state(self, H, Gather)
        gather.hold(x, H)
        if not sweep.last[H]:
            return None
        slabs = [gather.release() for _ in range(len(gather.slabs))]
        return torch.cat(slabs, H) if len(slabs) > 1 else (slabs or [x])[0]

    def _joined(self, pieces: Iterator[Tensor], x: Tensor) -> Tensor:
        done = list(pieces)
        return torch.cat(done, T) if len(done) > 1 else (done or [x.narrow(T, 0, 0)])[0]

    def clips(self, x: Tensor, held: _Clips, inside: Plan | None, *, last: bool) -> Iterator[Tensor]:
        """The answers to clips that are complete with the frames `x`, to all that is left if they are the `last`.

        `inside` is how the sweep at hand cuts, for what is swept within a clip.
        """
        raise NotImplementedError


@dataclass
class _Clips(State):
    """Frames of a clip that is not complete, and what the last clip left to fade into the next."""

    frames: Tensor | Kept | None = None
    tail: Tensor | Kept | None = None

    def take(self, x: Tensor) -> Tensor:
        """Everything that waits, and `x`."""
        held, self.frames = self.frames, None
        return x if held is None else join(self.shelf.get(held), x, T)

    def keep(self, frames: Tensor) -> None:
        """Let frames wait for more."""
        self.frames = self.shelf.put(frames) if frames.shape[T] else None


class TiledEncoder(InClips):
    """`body`, a tree, on clips of `frames` frames and tiles; each clip by itself, the last maybe shorter."""

    def __init__(self, body: Sweepable, frames: int, layout: Layout) -> None:
        super().__init__(frames, layout.size * layout.before)
        self.body, self.frames, self.layout = body, frames, layout

    def clips(self, x: Tensor, held: _Clips, inside: Plan | None, *, last: bool) -> Iterator[Tensor]:
        waiting = held.take(x)
        whole = waiting.shape[T] if last else waiting.shape[T] // self.frames * self.frames
        for clip in waiting[:, :, :whole].split(self.frames, T) if whole else ():
            yield in_tiles(clip, self.layout, lambda tile: run(self.body, tile, inside))
        held.keep(waiting[:, :, whole:])


@dataclass(frozen=True)
class Overlap:
    """How a decoder's clips meet: `step` latents from one to the next, `size` in one, `stride` frames each.

    The first `lead` frames of each `step` latents do not exist in the video.
    """

    size: int
    step: int
    stride: int
    lead: int

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Frames of a decoded clip that are its own, from and to, and those that fade into the next."""
        return self.lead, self.step * self.stride, self.step * self.stride + self.lead, self.size * self.stride


class TiledDecoder(InClips):
    """`body` on clips of latents and tiles, which overlap; a last clip is filled with copies of its last latent."""

    def __init__(self, body: torch.nn.Module, overlap: Overlap, layout: Layout) -> None:
        super().__init__(overlap.size, layout.size)
        self.body, self.overlap, self.layout = body, overlap, layout

    def clips(self, x: Tensor, held: _Clips, inside: Plan | None, *, last: bool) -> Iterator[Tensor]:  # noqa: ARG002
        waiting, size, step = held.take(x), self.overlap.size, self.overlap.step
        while waiting.shape[T] >= size:
            own, tail = self._decoded(waiting[:, :, :size], held)
            held.tail, waiting = held.shelf.put(tail), waiting[:, :, step:]
            yield own
        if not last:
            held.keep(waiting)
            return
        count = waiting.shape[T]
        if held.tail is not None and count <= size - step:  # the rest of what is decoded
            yield held.shelf.get(held.tail)
        elif count:
            missing = waiting[:, :, -1:].expand(-1, -1, size - count, -1, -1)
            own, tail = self._decoded(torch.cat([waiting, missing], T), held)
            yield torch.cat([own, tail], T)[:, :, : self._frames(count)]
        held.tail = None

    def _decoded(self, latents: Tensor, held: _Clips) -> tuple[Tensor, Tensor]:
        """Frames of this clip, with what the one before left faded in, and those to fade into the next."""
        video = in_tiles(latents, self.layout, self.body)
        start, stop, again, end = self.overlap.bounds
        own, tail = video[:, :, start:stop], video[:, :, again:end].clone()
        if held.tail is not None:
            before = held.shelf.get(held.tail)
            cross_fade(before, own, T, before.shape[T], 1)
        return own, tail

    def _frames(self, count: int) -> int:
        """Frames that `count` latents hold, of which the first of a clip holds fewer."""
        runs, rest = divmod(count, self.overlap.step)
        lead = self.overlap.lead * (runs + (rest > 0))
        return count * self.overlap.stride - lead
