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

    Clip i lies in `tars[shard[i]]` in segments [`first_segment[i]`, `first_segment[i + 1]`), rows of `data` (byte of
    the first frame) and `frames`. `shape[i]` numbers `shapes`, each (C, h, w) with the video's (H, W) behind it.
    """

    tars: list[str]
    clips: dict[str, int]
    shapes: list[tuple[int, int, int, int, int]]
    keys: np.ndarray
    shard: np.ndarray
    shape: np.ndarray
    first_segment: np.ndarray
    data: np.ndarray
    frames: np.ndarray
    latent_frames: np.ndarray
    num_frames: np.ndarray
    seconds: np.ndarray
    meta_offset: np.ndarray
    meta_bytes: np.ndarray


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
    first_segment = np.concatenate([[0], np.cumsum(counts)])
    # Row j of the sorted segments is the k-th of its clip: take them where that clip's lay before.
    source = np.repeat(first[order] - first_segment[:-1], counts) + np.arange(first_segment[-1])
    segments = _table(per_segment, 2)[source]
    return Columns(
        tars=tars,
        clips=clips,
        shapes=list(shapes),
        keys=np.array(keys, dtype=bytes)[order],
        shard=rows[order, 0].astype(np.int32),
        shape=rows[order, 1].astype(np.int32),
        first_segment=first_segment,
        data=segments[:, 0].copy(),
        frames=segments[:, 1].astype(np.int32),
        latent_frames=rows[order, 3].astype(np.int32),
        num_frames=rows[order, 4].astype(np.int32),
        seconds=np.array(seconds)[order],
        meta_offset=rows[order, 5].copy(),
        meta_bytes=rows[order, 6].astype(np.int32),
    )


def _table(values: array[int], width: int) -> np.ndarray:
    return np.frombuffer(values, np.int64).reshape(-1, width) if values else np.empty((0, width), np.int64)
