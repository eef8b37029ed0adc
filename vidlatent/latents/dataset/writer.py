"""Writing a latent dataset: many workers, one folder, each clip counted once it is durable."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from torch import Tensor

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents.dataset import tar
from vidlatent.latents.dataset.catalog import QUARANTINE, SHARDS, agree, write_stats
from vidlatent.latents.dataset.folder import Folder, LocalFolder, naming, open_folder
from vidlatent.latents.dataset.index import Entry
from vidlatent.latents.dataset.meta import ClipMeta
from vidlatent.latents.dataset.payload import cut, pack, stats_of
from vidlatent.latents.dataset.settings import DatasetSettings
from vidlatent.latents.dataset.shard import INDEX, TAR, ClipAppender, ShardWriter, recover
from vidlatent.latents.dataset.stats import ChannelStats

_WORKER = re.compile(r"[A-Za-z0-9_-]{1,40}")
_COMMIT_BYTES = 2**26

Meta = ClipMeta | Callable[[], ClipMeta]


class DatasetWriter:
    """Append clips to a latent dataset in bounded memory; a context manager.

    Any number of writers, in any number of processes and on any number of machines, may write into one folder at once:
    each has shards of its own, named after its `worker`. What a writer that died has left is finished by the next one
    to be opened; what it had not committed is dropped. Layout and promises: docs/datasets.md.

    At a URL a shard is made in a temporary folder here, and counts when it has been put there whole: on `commit`, when
    it is full, and at the end.

    Args:
        directory: A folder, made where missing, or a URL that fsspec knows.
        settings: What holds for all clips. `dataset.json` says it; it is written by who comes first.
        worker: Name of this writer, letters, digits, - and _; by it shards are ordered.
        shard_bytes: A shard is closed when it has this many.
        segment_frames: Longest run of latent frames in one safetensors file; longer clips take several.
        commit_seconds: In a folder, clips added are committed when the last commit is so long ago (or 64 MiB behind).
        stats: Whether `close` writes `stats.json`; False where many writers close and one calls `write_stats`.

    Raises:
        LatentFileError: The dataset has other settings, each of which is named; or it cannot be written.
        MissingDependency: A URL, and fsspec is not installed.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        settings: DatasetSettings,
        *,
        worker: str = "w0",
        shard_bytes: int = 2**30,
        segment_frames: int = 64,
        commit_seconds: float = 10.0,
        stats: bool = True,
    ) -> None:
        if not _WORKER.fullmatch(worker):
            raise InputError(f"worker={worker!r}: expected up to 40 letters, digits, - or _")
        if shard_bytes < 1 or segment_frames < 1:
            raise InputError(f"shard_bytes={shard_bytes} and segment_frames={segment_frames} must be 1 or more")
        self.settings, self.keys = settings, set[str]()
        self._folder = open_folder(directory)
        self._worker, self._shard_bytes, self._segment_frames = worker, shard_bytes, segment_frames
        self._commit_seconds, self._stats = commit_seconds, stats
        self._shard: ShardWriter | None = None
        self._closed = False
        self._committed_at = time.monotonic()
        agree(self._folder, settings)
        if isinstance(self._folder, LocalFolder):
            self._spool = self._folder.path / SHARDS
            with naming(self._spool):
                self._spool.mkdir(exist_ok=True)
                finish_abandoned(self._folder, settings)
        else:
            self._temporary = tempfile.TemporaryDirectory(prefix="vidlatent-")
            self._spool = Path(self._temporary.name)
            self._worker = f"{worker}-{uuid4().hex[:8]}"  # no file system there to refuse a name twice
        self._next = self._first_number()

    def add(self, key: str, latents: Tensor | Iterable[Tensor], meta: Meta) -> bool:
        """Append a clip.

        Args:
            key: What it is known by, from `content_key`.
            latents: (t, C, h, w) or (1, C, t, h, w), C twice the channels where "moments" are kept; or such pieces in
                the order of time, t maybe 0, of which only one segment is held at once. Not normalised.
            meta: What travels along; for pieces maybe a function, called when the last piece has come.

        Returns:
            Whether it was written: False for a key that this writer has written before.

        Raises:
            InputError: Latents do not fit the settings or the clip, or hold values the stored type cannot. Nothing of
                this clip stays; others are as they were, and the writer goes on.
            LatentFileError: The disk is full or gone. Close the writer: what was committed is safe.
        """
        if self._closed:
            raise InputError(f"{self._folder}: this writer is closed")
        if tar.checked_key(key) in self.keys:
            return False
        shard = self._shard = self._shard or self._new_shard()
        with shard.clip() as appender:
            entry, stats = self._written(appender, key, latents, meta)
        self._take(shard, entry, stats)
        return True

    def adopt(self, source: Folder, tar_name: str, entry: Entry) -> bool:
        """Append a clip of another shard of the same settings as it lies there, unread.

        Returns:
            Whether it was written: False for a key that this writer has written before.
        """
        if entry.key in self.keys:
            return False
        shard = self._shard = self._shard or self._new_shard()
        with shard.clip() as appender:
            moved = entry.moved(appender.start)
            appender.copy(source.blocks(tar_name, entry.start, entry.end))
        self._take(shard, moved, stats_of(source, tar_name, [entry], self.settings))
        return True

    def _written(
        self, appender: ClipAppender, key: str, latents: Tensor | Iterable[Tensor], meta: Meta
    ) -> tuple[Entry, ChannelStats]:
        stats = ChannelStats(int(self.settings.latent_spec["channels"]))
        segments, shape, count = [], (0, 0, 0), 0
        for number, frames in enumerate(cut(latents, self.settings, self._segment_frames)):
            labels = {"key": key, "first_latent_frame": str(count)}
            where = f"clip {key}: latent frame {count} or one soon after"
            payload, data, values = pack(frames, self.settings, where=where, labels=labels)
            stats.update(values)
            segments.append(appender.segment(tar.segment_name(key, number), payload, data=data, frames=len(frames)))
            shape, count = (frames.shape[1], frames.shape[2], frames.shape[3]), count + len(frames)
        described = meta() if callable(meta) else meta
        grid = self.settings.latent_grid(described.num_frames, described.size)
        if (count, *shape[1:]) != grid:
            raise InputError(
                f"clip {key}: {described.num_frames} frames of {described.size} have latents of {grid} (t, h, w), "
                f"got {(count, *shape[1:])}"
            )
        text = appender.member(tar.meta_name(key), described.to_json().encode())
        entry = Entry(
            key=key,
            start=appender.start,
            end=appender.end,
            shape=shape,
            num_frames=described.num_frames,
            size=described.size,
            seconds=float(described.seconds),
            segments=tuple(segments),
            meta=text,
        )
        return entry, stats

    def _new_shard(self) -> ShardWriter:
        channels = int(self.settings.latent_spec["channels"])
        while True:
            name = f"{self._worker}-{self._next:05d}"
            self._next += 1
            with naming(self._folder), suppress(FileExistsError):  # another writer of this name was quicker
                return ShardWriter(self._spool, name, channels=channels)

    def _first_number(self) -> int:
        """Behind all shards that this worker ever had, that names stay theirs."""
        taken = re.compile(rf"{re.escape(self._worker)}-(\d+)\.")
        names = self._folder.names(SHARDS) + self._folder.names(QUARANTINE)
        return max((int(found[1]) for found in map(taken.match, names) if found), default=-1) + 1

    def _take(self, shard: ShardWriter, entry: Entry, stats: ChannelStats) -> None:
        shard.append(entry, stats)
        self.keys.add(entry.key)
        late = time.monotonic() - self._committed_at >= self._commit_seconds
        if shard.end >= self._shard_bytes:
            self._close_shard()
        elif late or shard.pending_bytes >= _COMMIT_BYTES:
            self._commit_shard()

    def _commit_shard(self) -> None:
        """Make clips durable where a shard may grow; at a URL it may not, and they wait for the shard to be full."""
        if self._shard is not None and isinstance(self._folder, LocalFolder):
            with naming(self._folder):
                self._shard.commit()
            self._committed_at = time.monotonic()

    @property
    def grows(self) -> bool:
        """Whether a shard goes on after a commit; at a URL each one is a shard of its own."""
        return isinstance(self._folder, LocalFolder)

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        with naming(self._folder):
            if shard is not None and shard.close() and not isinstance(self._folder, LocalFolder):
                for suffix in (TAR, INDEX):  # the index last: it makes the clips count
                    local = self._spool / f"{shard.name}{suffix}"
                    self._folder.put(local, f"{SHARDS}/{local.name}")
                    local.unlink()
        self._committed_at = time.monotonic()

    def commit(self) -> None:
        """Make every clip added so far durable: after this, no crash loses it.

        Raises:
            LatentFileError: The disk is full or gone.
        """
        if isinstance(self._folder, LocalFolder):
            self._commit_shard()
        else:
            self._close_shard()

    def close(self) -> None:
        """Commit, finish the open shard, and write `stats.json` unless told not to.

        Raises:
            LatentFileError: The disk is full or gone; what was committed is safe, and the next writer takes it up.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._close_shard()
            if self._stats:
                write_stats(self._folder.url)
        finally:
            if not isinstance(self._folder, LocalFolder):
                self._temporary.cleanup()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # whole clips are worth keeping, and what went wrong first is worth telling
            with suppress(LatentFileError):
                self.close()


def finish_abandoned(folder: LocalFolder, settings: DatasetSettings) -> list[str]:
    """Finish the shards of writers that died; the names of those that were."""
    shards = LocalFolder(folder.path / SHARDS)
    names = set(shards.names())
    open_ones = {name.removesuffix(INDEX) for name in names if name.endswith(INDEX)} - {
        name.removesuffix(TAR) for name in names if name.endswith(TAR)
    }

    def stats(path: Path, entries: tuple[Entry, ...]) -> ChannelStats:
        return stats_of(shards, path.name, entries, settings)

    return [name for name in sorted(open_ones) if recover(shards.path, name, stats_of=stats)]
