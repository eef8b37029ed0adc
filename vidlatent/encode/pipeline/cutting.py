"""One pass over a video, cut into clips: scenes first, then windows of frames in each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from vidlatent.encode.policy import ClipPolicy, Shape
from vidlatent.errors import VideoError
from vidlatent.io import Clip, VideoSource, open_video
from vidlatent.latents import content_key

_AT_ONCE: dict[str, Any] = {"chunk_frames": 32, "chunk_bytes": 2**22}  # of frames that are given out


@dataclass(frozen=True)
class Task:
    """What a decoder is given: a local file, and how to make clips of it."""

    path: Path
    name: str
    sha256: str
    policy: ClipPolicy
    start: Fraction | None = None
    stop: Fraction | None = None
    cuts: tuple[Fraction, ...] = ()
    num_threads: int = 1


@dataclass(frozen=True)
class Begin:
    """A clip begins: its key, the size (H, W) of its frames, its rate, and the shape it was brought to."""

    key: str
    size: tuple[int, int]
    fps: Fraction
    shape: Shape


@dataclass(frozen=True)
class Frames:
    """Frames of the clip that has begun: uint8 (n, H, W, 3), and their times."""

    frames: Tensor
    times: tuple[Fraction, ...]


@dataclass(frozen=True)
class End:
    """The clip is whole, or, where `kept` is false, to be forgotten."""

    kept: bool = True


Event = Begin | Frames | End


def cut(task: Task) -> Iterator[Event]:
    """The clips of a video, one after the other, each as it is decoded; memory is that of the windows' overlap.

    Raises:
        VideoError: The video cannot be read, is damaged, or is too short for a clip; clips that ended before stand.
    """
    shape = _shape(task)
    start, stop = task.start, task.stop
    options = {"size": shape.size, "fps": shape.fps, "num_threads": task.num_threads, **_AT_ONCE}
    with open_video(task.path, start=start, stop=stop, **options) as video:
        cutter = _Cutter(task, video, shape)
        for clip in video:
            yield from cutter.feed(clip)
        yield from cutter.finish()


def _shape(task: Task) -> Shape:
    if not task.policy.buckets:
        return task.policy.shape
    with open_video(task.path, chunk_frames=1) as video:
        spec = video.spec
        ends = [end for end in (spec.duration_seconds, task.stop) if end is not None]
        seconds = min(ends) - (task.start or 0) if ends else None
        return task.policy.choose(video.height, video.width, spec.fps, seconds)


class _Cutter:
    """Gives out frames as clips; position counts frames from the start of the scene."""

    def __init__(self, task: Task, video: VideoSource, shape: Shape) -> None:
        self._task, self._shape = task, shape
        self._size, self._fps = (video.height, video.width), shape.fps or video.spec.fps
        self._stride = task.policy.stride or shape.frames or 0
        inner = (c for c in task.cuts if c > (task.start or 0) and (task.stop is None or c < task.stop))
        self._cuts = tuple(inner)
        self._total = self._clips = self._longest = 0
        self._new_scene(0)

    def _new_scene(self, index: int) -> None:
        self._scene = index
        self._kept: list[tuple[int, Clip]] = []  # (position of its first frame, frames): what later windows need
        self._end = 0  # frames of the scene so far
        self._window, self._sent = 0, 0  # where the window under way began, and up to where it was given out
        self._open = False

    def feed(self, clip: Clip) -> Iterator[Event]:
        self._total += clip.num_frames
        at = 0
        while at < clip.num_frames:
            scene = bisect_right(self._cuts, clip.pts_seconds[at])
            if scene != self._scene:
                yield from self._finish_scene()
                self._new_scene(scene)
            limit = self._cuts[scene] if scene < len(self._cuts) else None
            upto = at + 1
            while upto < clip.num_frames and (limit is None or clip.pts_seconds[upto] < limit):
                upto += 1
            part = _part(clip, at, upto)
            self._kept.append((self._end, part))
            self._end += part.num_frames
            yield from self._give()
            at = upto

    def _give(self) -> Iterator[Event]:
        """Give out what the window under way lacks, and begin the next ones as far as there are frames."""
        while max(self._sent, self._window) < self._end:
            last = None if self._shape.frames is None else self._window + self._shape.frames
            upto = self._end if last is None else min(last, self._end)
            if not self._open:
                yield self._begin()
            for first, clip in self._kept:
                a, b = max(self._sent, self._window, first) - first, min(upto, first + clip.num_frames) - first
                if a < b:
                    part = _part(clip, a, b)
                    yield Frames(part.frames, part.pts_seconds)
            self._sent = upto
            if upto == last:
                yield from self._close(kept=True)
                self._window += self._stride
                self._sent = self._window
            self._forget()

    def _begin(self) -> Begin:
        self._open = True
        bounds = (self._task.start, *self._cuts, self._task.stop)
        size, fps = self._shape.size, self._shape.fps
        transform = {
            "size": list(size) if isinstance(size, tuple) else size,
            "fps": None if fps is None else str(fps),
            "frames": None if self._shape.frames is None else [self._window, self._window + self._shape.frames],
        }
        key = content_key(self._task.sha256, bounds[self._scene], bounds[self._scene + 1], transform)
        return Begin(key, self._size, self._fps, self._shape)

    def _close(self, *, kept: bool) -> Iterator[Event]:
        self._open = False
        self._clips += kept
        yield End(kept)

    def _forget(self) -> None:
        needed = min(self._sent, self._window + self._stride) if self._shape.frames else self._sent
        self._kept = [(first, clip) for first, clip in self._kept if first + clip.num_frames > needed]

    def _finish_scene(self) -> Iterator[Event]:
        self._longest = max(self._longest, self._end)
        if self._open:
            before = self._window - self._stride + (self._shape.frames or 0) if self._window else 0
            rest = self._task.policy.tail == "keep" and self._end > before
            yield from self._close(kept=self._shape.frames is None or rest or self._total == 1)

    def finish(self) -> Iterator[Event]:
        yield from self._finish_scene()
        if not self._clips:
            what = "its longest scene" if self._cuts else "it"
            raise VideoError(
                self._task.name,
                f"{what} has {self._longest} frames, a clip {self._shape.frames}: fewer frames, or tail='keep'",
            )


def _part(clip: Clip, start: int, stop: int) -> Clip:
    if (start, stop) == (0, clip.num_frames):
        return clip
    return Clip(frames=clip.frames[start:stop], pts_seconds=clip.pts_seconds[start:stop])
