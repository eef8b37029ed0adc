"""The index of a whole dataset as columns of numbers: some hundred bytes a clip, shared between forked workers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vidlatent.latents.dataset.catalog import Shard, counted


@dataclass(frozen=True)
class Columns:
    """What it takes to find and to choose clips; rows are sorted by key, whichever worker wrote them.

    Row i of `places` is all that it takes to read clip i, side by side because copies empty the caches: shard, shape,
    latent frames, first segment, number of segments, offset and bytes of its description. It lies in `tars[shard]`, in
    segments that are rows of `data` (byte of the first frame) and `frames`. `shape` numbers `shapes`, each (C, h, w)
    with the video's (H, W) behind it.
    """

    tars: list[str]
    clips: dict[str, int]
    shapes: list[tuple[int, int, int, int, int]]
    keys: np.ndarray
    places: np.ndarray
    data: np.ndarray
    frames: np.ndarray
    num_frames: np.ndarray
    seconds: np.ndarray

    @property
    def shape(self) -> np.ndarray:
        """Of each clip, its number among `shapes`."""
        return self.places[:, 1]

    @property
    def latent_frames(self) -> np.ndarray:
        """Of each clip."""
        return self.places[:, 2]


def gather(shards: Iterable[Shard]) -> Columns:
    """Columns over every clip that counts."""
    tars: list[str] = []
    clips: dict[str, int] = {}
    keys: list[bytes] = []
    shapes: dict[tuple[int, int, int, int, int], int] = {}
    per_clip = array("q")  # shard, shape, segments, latent frames, video frames, offset and bytes of the description
    seconds = array("d")
    per_segment = array("q")  # data, frames
    for shard, entries in counted(shards):
        for entry in entries:
            keys.append(entry.key.encode())
            shape = shapes.setdefault((*entry.shape, *entry.size), len(shapes))
            per_clip.extend((len(tars), shape, len(entry.segments), entry.latent_frames, entry.num_frames))
            per_clip.extend(entry.meta[:2])
            seconds.append(entry.seconds)
            for segment in entry.segments:
                per_segment.extend((segment.data, segment.frames))
        tars.append(shard.tar)
        clips[shard.name] = len(shard.index.entries)
    order = np.argsort(np.array(keys, dtype=bytes), kind="stable")
    rows = _table(per_clip, 7)
    first = np.concatenate([[0], np.cumsum(rows[:, 2])])
    counts = rows[order, 2]
    first_segment = np.cumsum(counts) - counts
    # Row j of the sorted segments is the k-th of its clip: take them where that clip's lay before.
    source = np.repeat(first[order] - first_segment, counts) + np.arange(counts.sum())
    segments = _table(per_segment, 2)[source]
    return Columns(
        tars=tars,
        clips=clips,
        shapes=list(shapes),
        keys=np.array(keys, dtype=bytes)[order],
        places=np.stack([*rows[order][:, [0, 1, 3]].T, first_segment, *rows[order][:, [2, 5, 6]].T], 1),
        data=segments[:, 0].copy(),
        frames=segments[:, 1].astype(np.int32),
        num_frames=rows[order, 4].astype(np.int32),
        seconds=np.array(seconds)[order],
    )


def _table(values: array[int], width: int) -> np.ndarray:
    return np.frombuffer(values, np.int64).reshape(-1, width) if values else np.empty((0, width), np.int64)
