"""Batches of real clips: random windows of videos, random crops, a random frame stride, images in between.

What batch n of process r holds is a function of the seed, the stage, n and r: resuming is counting, and prefetching by
worker processes changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vidlatent.config import RunConfig
from vidlatent.errors import InputError, VideoError
from vidlatent.io import open_video, to_float

_TRIES = 20
_POOLED = 4
"""Windows of a pool are this many times as large in area as what is cropped of them."""


class ClipDataConfig(RunConfig):
    """What a batch is made of.

    `folder` is searched for videos at any depth. Of one, `frames` frames of `size` (rows, columns; one number: both)
    are taken: at `fps`, or at its own rate, and of these every k-th with k drawn from `stride`; of the picture, a
    random crop that spans from `zoom[0]` to `zoom[1]` of its shorter side, half of them mirrored. A share of `images`
    batches hold single frames. With `pool`, so many windows are drawn once and kept in memory, and batches are crops
    of these: for small runs, which decoding would hold up. Otherwise `workers` processes read ahead.
    """

    folder: Path
    frames: int = Field(default=17, ge=1)
    size: int | tuple[int, int] = 256
    batch: int = Field(default=1, ge=1)
    fps: float | None = Field(default=None, gt=0)
    stride: tuple[int, int] = (1, 1)
    zoom: tuple[float, float] = (0.5, 1.0)
    images: float = Field(default=0.0, ge=0, le=1)
    pool: int | None = Field(default=None, ge=1)
    workers: int = Field(default=0, ge=0)

    @property
    def rows_columns(self) -> tuple[int, int]:
        """Size as (rows, columns)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def check(self) -> None:
        """Raise `InputError` for values that contradict each other and a folder that is missing."""
        if not 1 <= self.stride[0] <= self.stride[1]:
            raise InputError(f"data.stride={self.stride}: expected [least, most], both at least 1")
        if not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise InputError(f"data.zoom={self.zoom}: expected [least, most] within (0, 1]")
        if min(self.rows_columns) < 1:
            raise InputError(f"data.size={self.size}: expected at least 1")
        if not self.folder.is_dir():
            raise InputError(f"data.folder={self.folder}: no such folder")


@dataclass(frozen=True)
class Video:
    """A video that windows can be taken of."""

    path: Path
    fps: Fraction
    seconds: Fraction
    shorter_side: int


@lru_cache(maxsize=8)
def find_videos(folder: Path) -> tuple[Video, ...]:
    """All videos below a folder, in the order of their paths. Raises `InputError` where there is none."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        try:
            with open_video(path) as source:
                spec = source.spec
        except VideoError:
            continue
        seconds = spec.duration_seconds or Fraction(spec.num_frames or 0) / (spec.fps or 1)
        if spec.fps and seconds:
            found.append(Video(path, spec.fps, seconds, min(spec.height, spec.width)))
    if not found:
        raise InputError(f"{folder}: holds no video that can be read: name a folder that has some, at any depth")
    return tuple(found)


class ClipBatches:
    """Endless batches {"video": (B, 3, T, H, W) in [-1, 1]} as `ClipDataConfig` says.

    Raises `InputError` where there is nothing that fits it.
    """

    def __init__(self, config: ClipDataConfig, *, seed: int, stage: int = 0, rank: int = 0, world: int = 1) -> None:
        config.check()
        self._config, self._numbers, self._rank, self._world = config, (seed, stage), rank, world
        found = {video: video.seconds * self._rate(video, 1) for video in find_videos(config.folder)}
        self._videos = [video for video, frames in found.items() if frames >= config.frames]
        if not self._videos:
            raise InputError(
                f"data.frames={config.frames}: no video in {config.folder} is that long: take "
                f"{int(max(found.values()))} or fewer"
            )
        self._next = 0
        self._pool: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._next = state["next"]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self._config.pool and not self._pool:
            self._pool = [self._pooled(number) for number in range(self._config.pool)]
        numbers, workers = itertools.count(self._next), self._config.workers
        batches: Iterable[dict[str, Tensor]] = map(self.batch, numbers)
        if workers and not self._pool:
            batches = torch.utils.data.DataLoader(
                _ByNumber(self), batch_size=None, sampler=numbers, num_workers=workers
            )
        for batch in batches:
            self._next += 1
            yield batch

    def batch(self, number: int) -> dict[str, Tensor]:
        """Batch `number`, whatever came before."""
        rng = np.random.default_rng((*self._numbers, number * self._world + self._rank))
        frames = 1 if rng.random() < self._config.images else self._config.frames
        clips = [self._clip(rng, frames) for _ in range(self._config.batch)]
        return {"video": torch.cat(clips)}

    def _clip(self, rng: np.random.Generator, frames: int) -> Tensor:
        """One clip (1, 3, T, H, W)."""
        size = self._config.rows_columns
        if self._pool:
            window = self._pool[rng.integers(len(self._pool))]
            window = window[int(rng.integers(len(window) - frames + 1)) :][:frames]
        else:
            window = self._window(rng, frames, size)
        clip = to_float(_crop(window, size, rng))
        return clip.flip(-1) if rng.random() < 0.5 else clip

    def _pooled(self, number: int) -> Tensor:
        rng = np.random.default_rng((self._numbers[0], 1 << 32, number))
        rows, columns = self._config.rows_columns
        room = max(rows, columns) * _POOLED**0.5
        window = self._window(rng, self._config.frames, (rows, columns))
        return _crop(window, (int(min(room, window.shape[1])), int(min(room, window.shape[2]))), rng)

    def _window(self, rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Tensor:
        """Frames (T, rows, columns, 3), uint8, at least of `size`; files that fail to decode are passed over."""
        failure: Exception | None = None
        for _ in range(_TRIES):
            video = self._videos[rng.integers(len(self._videos))]
            try:
                window = self._read(video, rng, frames, size)
            except VideoError as error:
                failure = error
                continue
            if len(window) == frames:
                return window
        raise InputError(f"{self._config.folder}: {_TRIES} windows in a row could not be read; the last: {failure}")

    def _read(self, video: Video, rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Tensor:
        least, most = self._config.stride
        fitting = [k for k in range(least, most + 1) if frames / self._rate(video, k) <= video.seconds]
        rate = self._rate(video, fitting[rng.integers(len(fitting))] if fitting else 1)
        slack = max(video.seconds - frames / rate, Fraction(0))
        start = (slack * int(rng.integers(1 << 20)) / (1 << 20)).limit_denominator(90000)
        zoom = rng.uniform(*self._config.zoom)
        side = max(*size, min(video.shorter_side, round(max(size) / zoom)))
        with open_video(
            video.path,
            start=start,
            stop=start + frames / rate,
            fps=rate,
            size=side,
            chunk_frames=frames,
            on_damage="keep",
        ) as source:
            return next(iter(source)).frames

    def _rate(self, video: Video, stride: int) -> Fraction:
        fps = video.fps if self._config.fps is None else Fraction(self._config.fps).limit_denominator(1001)
        return fps / stride


class _ByNumber(torch.utils.data.Dataset):
    """Batches by number, for worker processes."""

    def __init__(self, batches: ClipBatches) -> None:
        self._batches = batches

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self._batches.batch(number)


def _crop(window: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    y, x = (int(rng.integers(length - wanted + 1)) for length, wanted in zip(window.shape[1:3], size, strict=True))
    return window[:, y : y + size[0], x : x + size[1]]


def fixed_windows(folder: Path, count: int, frames: int, size: tuple[int, int]) -> list[tuple[str, Tensor]]:
    """The first frames of the first `count` videos that are long enough: (name, clip (1, 3, T, H, W))."""
    found: list[tuple[str, Tensor]] = []
    for video in find_videos(folder):
        with open_video(video.path, size=size, chunk_frames=frames, on_damage="keep") as source:
            clip = next(iter(source)).frames
        if len(clip) == frames:
            found.append((video.path.stem, to_float(clip)))
        if len(found) == count:
            break
    return found
