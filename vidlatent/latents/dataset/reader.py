"""Reading a latent dataset: any clip, any window of its latent frames, by one contiguous read."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents.dataset.batches import LatentBatches
from vidlatent.latents.dataset.catalog import iterate_shards, merged_stats, open_dataset, read_stats
from vidlatent.latents.dataset.columns import gather
from vidlatent.latents.dataset.epoch import EpochPlan, Windows
from vidlatent.latents.dataset.meta import ClipMeta
from vidlatent.latents.dataset.payload import levels, read_type
from vidlatent.latents.dataset.shard import PART, TAR
from vidlatent.latents.dataset.stats import ChannelStats
from vidlatent.latents.dataset.tar import bytes_of
from vidlatent.latents.dataset.transform import Normalize, Posterior, Transform
from vidlatent.latents.values import from_codes


class LatentDataset(Dataset[dict[str, Any]]):
    """Every clip that was committed when it was opened, in the order of their keys, whichever worker wrote them.

    A map-style dataset for `torch.utils.data.DataLoader`, whose workers may be forked or spawned. Clips of unequal
    shape make no batch: see `batches`, or `collate`.

    Args:
        directory: A folder, or a URL that fsspec knows.
        normalize: "spec" takes the mean and standard deviation that came with the autoencoder, "stats" those of this
            dataset; None gives latents as the autoencoder does.
        posterior: Of a dataset that keeps moments: "mode" gives the mean, "sample" draws, "moments" gives both.

    Raises:
        LatentFileError: No dataset is there, or it is damaged or of a later version.
        InputError: The normalisation or what is asked of the posterior is not to be had.
        MissingDependency: A URL, and fsspec is not installed.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, normalize: Normalize | None = None, posterior: Posterior = "mode"
    ) -> None:
        self.folder, self.settings = open_dataset(directory)
        self.columns = gather(iterate_shards(self.folder))
        self.dtype = read_type(self.settings)
        self._coded = self.settings.dtype == "int8"
        self.transform = Transform.of(self.settings, normalize, posterior, lambda: self.stats)

    def __len__(self) -> int:
        """Clips."""
        return len(self.columns.keys)

    @property
    def keys(self) -> list[str]:
        """Keys of all clips, sorted; clip i is the i-th."""
        return [key.decode() for key in self.columns.keys]

    def key(self, i: int) -> str:
        """Key of a clip."""
        return str(self.columns.keys[self._index(i)].decode())

    def find(self, key: str) -> int:
        """The clip of this key.

        Raises:
            InputError: There is none.
        """
        position = int(np.searchsorted(self.columns.keys, key.encode()))
        if position == len(self) or self.columns.keys[position] != key.encode():
            raise InputError(f"{self.folder}: has no clip {key}")
        return position

    @cached_property
    def stats(self) -> ChannelStats:
        """Per-channel mean, std and covariance over all clips, from `stats.json` where that is of the same ones."""
        with suppress(LatentFileError):  # it is only a summary
            record = read_stats(self.folder)
            if record is not None and record["shards"] == self.columns.clips:
                return ChannelStats.from_summary(record)
        return merged_stats(self.folder, self.settings)[0]

    def shape(self, i: int) -> tuple[int, int, int, int]:
        """(t, C, h, w) of a clip as stored."""
        _, number, latent_frames, *_ = self._place(i)
        return (latent_frames, *self.columns.shapes[number][:3])

    def meta(self, i: int) -> ClipMeta:
        """What travels with a clip.

        Raises:
            LatentFileError: It is damaged.
        """
        return ClipMeta.from_json(self.meta_json(i))

    def meta_json(self, i: int) -> bytes:
        """The same as the JSON text that it is stored as."""
        shard, *_, start, count = self._place(i)
        return self._located(shard, self.folder.read_bytes, start, start + count)

    def window(self, i: int, start: int, length: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Latent frames [start, start + length) of clip i as (t, C, h, w).

        In the stored type (float32 for int8); float32 where they are normalised or drawn. `generator` draws.

        Raises:
            InputError: The window is not within the clip.
            LatentFileError: The shard is cut off or gone.
        """
        frames = torch.empty((max(length, 0), *self.shape(i)[1:]), dtype=self.dtype)
        self.read([(i, start)], frames.unsqueeze(0))
        return frames if self.transform.changes_nothing else self.transform(frames, start, generator)

    def span(self, i: int, start_seconds: Fraction | float, stop_seconds: Fraction | float) -> tuple[int, int]:
        """First latent frame and number of those that hold clip i from `start_seconds` to `stop_seconds`, for `window`.

        Seconds of the source, half-open, by the exact times of its frames; counted from 0 where these are unknown.
        """
        meta, settings = self.meta(i), self.settings
        times: Sequence[Any] = meta.pts_seconds or [number / meta.fps for number in range(meta.num_frames)]
        first, last = bisect_left(times, start_seconds), bisect_left(times, stop_seconds)
        if first >= last:
            return 0, 0
        start = settings.latent_frame(first)
        return start, settings.latent_frame(last - 1) + 1 - start

    def read(self, windows: Sequence[tuple[int, int]], out: Tensor) -> None:
        """Fill `out` (B, t, C, h, w) with windows (clip, first latent frame) as stored; float32 for int8.

        Raises:
            InputError: A window is not within its clip, or `out` is of another shape or type.
            LatentFileError: A shard is cut off or gone.
        """
        if out.dtype != self.dtype or not out.is_contiguous() or len(out) != len(windows):
            raise InputError(f"{len(windows)} windows are read into as many rows of contiguous {self.dtype}")
        pieces = self._pieces(windows, tuple(out.shape))  # all of them first: between copies code falls out of caches
        stored = torch.empty(out.shape, dtype=torch.int8) if self._coded else out
        raw = bytes_of(stored)
        frame_bytes = math.prod(stored.shape[2:]) * stored.itemsize
        for shard, data, skipped, first, last in pieces:
            target = raw[first * frame_bytes : last * frame_bytes]
            self._located(shard, self.folder.read_into, data + skipped * frame_bytes, target)
        if self._coded:
            codes, values = stored.flatten(0, 1), out.flatten(0, 1)
            for shard, data, _, first, last in pieces:
                scale, offset = self._located(shard, partial(levels, self.folder), data, out.shape[2])
                values[first:last] = from_codes(codes[first:last], scale, offset)

    def _pieces(
        self, windows: Sequence[tuple[int, int]], shape: tuple[int, ...]
    ) -> list[tuple[int, int, int, int, int]]:
        """Runs of frames that lie behind each other: shard, byte where the segment's frames begin, frames skipped
        there, and the rows [first, last) of all windows that they are for."""
        columns, length, row = self.columns, shape[1], 0
        pieces = []
        for clip, start in windows:
            shard, number, total, segment, segments, *_ = self._place(clip)
            if columns.shapes[number][:3] != shape[2:]:
                raise InputError(f"clip {clip} has latents of {self.shape(clip)} (t, C, h, w), asked for {shape[1:]}")
            stop, position = start + length, 0
            if not 0 <= start <= stop <= total:
                raise InputError(f"clip {clip}: asked for latent frames [{start}, {stop}), it has [0, {total})")
            for of_clip in range(segment, segment + segments):
                count = columns.frames.item(of_clip)
                first, last = max(start, position), min(stop, position + count)
                if first < last:
                    at = row - start
                    pieces.append((shard, columns.data.item(of_clip), first - position, first + at, last + at))
                position += count
            row += length
        return pieces

    def __getitem__(self, i: int) -> dict[str, Any]:
        """A clip whole: `latents` (t, C, h, w), its `key`, `caption` and `meta`."""
        i = self._index(i)
        meta = self.meta(i)
        latents = self.window(i, 0, int(self.columns.latent_frames[i]))
        return {"latents": latents, "key": self.key(i), "caption": meta.caption, "meta": meta}

    def batches(
        self,
        *,
        frames: int | None = None,
        batch_size: int = 1,
        windows: Windows = "random",
        stride: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
        with_meta: bool = True,
    ) -> LatentBatches:
        """Batches of windows for training; the arguments are those of `EpochPlan` and `LatentBatches`."""
        plan = EpochPlan(frames, windows, stride, batch_size, world_size, shuffle, seed, drop_last)
        return LatentBatches(self, plan, rank=rank, with_meta=with_meta)

    @staticmethod
    def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Clips as a batch: lists, but `latents` (B, t, C, h, w) where they are all of one shape."""
        batch: dict[str, Any] = {name: [sample[name] for sample in samples] for name in samples[0]}
        if len({latents.shape for latents in batch["latents"]}) == 1:
            batch["latents"] = torch.stack(batch["latents"])
        return batch

    def _place(self, i: int) -> list[int]:
        """What `Columns.places` says of a clip."""
        place: list[int] = self.columns.places[self._index(i)].tolist()
        return place

    def _index(self, i: int) -> int:
        count = len(self.columns.keys)
        if not -count <= i < count:
            raise IndexError(f"clip {i}: there are {count}")  # IndexError ends a for loop over a dataset
        return int(i) % count

    def _located(self, shard: int, read: Callable[..., Any], *where: Any) -> Any:
        """Read a shard, whose name changes when its writer finishes it."""
        tar = self.columns.tars[shard]
        try:
            return read(tar, *where)
        except LatentFileError:
            if not tar.endswith(PART):
                raise
            tar = self.columns.tars[shard] = tar.removesuffix(PART) + TAR
            return read(tar, *where)

    def __repr__(self) -> str:
        hours = float(self.columns.seconds.sum()) / 3600
        return f"LatentDataset({self.folder}: {len(self)} clips, {hours:.2f} h, {self.settings.model})"
