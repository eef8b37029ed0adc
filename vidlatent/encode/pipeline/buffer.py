"""Clips between decoders and the model: bounded in bytes, handed out as batches of one shape or as streams.

A clip that is whole waits for others of its shape. One that grows long is handed out before it is whole, as a stream:
so is the oldest unfinished one when the buffer is full and holds nothing whole, which is why nothing ever locks up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Condition
from typing import Any

from torch import Tensor

from vidlatent.encode.pipeline.cutting import Begin

_LONG_SHARE = 4  # a clip that takes more than this part of the buffer is handed out as a stream


class ClipLost(Exception):  # noqa: N818 - not the clip's fault that it is told by an exception
    """The rest of a clip that is being encoded will not come."""


@dataclass
class Clip:
    """A clip on its way: what began it, whose it is, and the frames that wait."""

    begin: Begin
    owner: Any
    waiting: list[Tensor] = field(default_factory=list)
    times: list[Fraction] = field(default_factory=list)
    ended: bool = False
    lost: bool = False
    streamed: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def num_bytes(self) -> int:
        """Of the frames that wait."""
        return sum(frames.numel() for frames in self.waiting)

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W) once it is whole."""
        return len(self.times), *self.begin.size


@dataclass(frozen=True)
class Batch:
    """Whole clips of one shape."""

    clips: list[Clip]


class Buffer:
    """Filled by the thread that receives, emptied by the one that encodes.

    Args:
        limit_bytes: Frames held at most, but for what is on its way from a decoder.
        batch_of: How many clips of (T, H, W) make a batch at most.
        on_room: Called when there is room again.
    """

    def __init__(
        self, limit_bytes: int, *, batch_of: Callable[[tuple[int, ...]], int], on_room: Callable[[], None]
    ) -> None:
        self.limit_bytes, self._batch_of, self._on_room = limit_bytes, batch_of, on_room
        self.num_bytes = 0
        self.waited = 0.0  # seconds for which whoever encodes had no frames
        self._changed = Condition()
        self._open: list[Clip] = []
        self._whole: dict[tuple[int, ...], list[Clip]] = {}
        self._stream: Clip | None = None
        self._finished = False

    @property
    def fill(self) -> float:
        """How full it is; towards 1 the model is what limits, towards 0 decoding."""
        return min(1.0, self.num_bytes / self.limit_bytes)

    def accepts(self, clip: Clip | None) -> bool:
        """Whether more may be received from the decoder that is at this clip."""
        if clip is not None and clip is self._stream:
            return clip.num_bytes <= self.limit_bytes // _LONG_SHARE
        return self.num_bytes < self.limit_bytes

    def begin(self, clip: Clip) -> None:
        """A clip of which frames will come."""
        with self._changed:
            self._open.append(clip)

    def add(self, clip: Clip, frames: Tensor, times: tuple[Fraction, ...]) -> None:
        """Frames of a clip that has begun."""
        with self._changed:
            clip.waiting.append(frames)
            clip.times.extend(times)
            self.num_bytes += frames.numel()
            self._changed.notify_all()

    def end(self, clip: Clip, *, lost: bool = False) -> None:
        """No more frames of this clip come; if it is lost, what there was is dropped."""
        with self._changed:
            clip.ended, clip.lost = True, lost
            self._open.remove(clip)
            if lost:
                self._release(clip)
            elif not clip.streamed:
                clip.since = time.monotonic()
                self._whole.setdefault(clip.shape, []).append(clip)
            self._changed.notify_all()

    def finish(self) -> None:
        """No more clips come."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def take(self) -> Batch | Clip | None:
        """Wait for work: a batch, or an unfinished clip to be encoded by `stream`; None when all is done."""
        with self._changed:
            while True:
                work = self._choose()
                if work is not None or (self._finished and not self._open):
                    return work
                self._wait()

    def _wait(self) -> None:
        started = time.monotonic()
        self._changed.wait()
        self.waited += time.monotonic() - started

    def _choose(self) -> Batch | Clip | None:
        candidates: list[tuple[float, Any]] = [(clips[0].since, clips) for clips in self._whole.values()]
        full = self.num_bytes >= self.limit_bytes and not candidates
        longest = 0 if full else self.limit_bytes // _LONG_SHARE
        candidates += [(clip.since, clip) for clip in self._open if clip.num_bytes > longest]
        if not candidates:
            return None
        chosen = min(candidates, key=lambda candidate: candidate[0])[1]
        if isinstance(chosen, Clip):
            chosen.streamed, self._stream = True, chosen
            self._on_room()
            return chosen
        return self._batch(chosen)

    def _batch(self, clips: list[Clip]) -> Batch:
        shape = clips[0].shape
        # A power of two: few distinct shapes, which libraries and allocators remember each.
        count = 1 << (min(len(clips), self._batch_of(shape)).bit_length() - 1)
        taken, rest = clips[:count], clips[count:]
        if rest:
            self._whole[shape] = rest
        else:
            del self._whole[shape]
        return Batch(taken)

    def release(self, clips: list[Clip]) -> None:
        """Forget the frames of clips that are encoded."""
        with self._changed:
            for clip in clips:
                self._release(clip)

    def stream(self, clip: Clip) -> Generator[Tensor, None, None]:
        """Frames of an unfinished clip as they come. Raises `ClipLost` when the rest will not."""
        try:
            while True:
                with self._changed:
                    while not clip.waiting and not clip.ended:
                        self._wait()
                    if clip.lost:
                        raise ClipLost
                    if not clip.waiting:
                        return
                    frames = clip.waiting.pop(0)
                    self.num_bytes -= frames.numel()
                self._on_room()
                yield frames
        finally:
            with self._changed:
                self._stream = None
                self._release(clip)

    def _release(self, clip: Clip) -> None:
        self.num_bytes -= clip.num_bytes
        clip.waiting.clear()
        self._on_room()
