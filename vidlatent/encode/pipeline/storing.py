"""The thread that writes: latents come in by a short queue, clips and the rows they finish become durable together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from queue import Queue
from threading import Thread
from typing import Any

from torch import Tensor

from vidlatent.encode.pipeline.buffer import Clip, ClipLost
from vidlatent.encode.pipeline.journal import Journal, write_failures
from vidlatent.encode.pipeline.ledger import Ledger, RowState
from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents import ClipMeta, ClipSource, DatasetWriter

_QUEUED = 8
_TELL_SECONDS = 30.0
_SHARD_SECONDS = 600.0  # where a commit is a shard of its own, there must not be too many


class Pieces:
    """Latents of a clip that are still being made, handed from thread to thread a few at a time."""

    def __init__(self) -> None:
        self._queue: Queue[Tensor | BaseException | None] = Queue(_QUEUED)
        self.refused = False

    def put(self, piece: Tensor | BaseException | None) -> None:
        """A piece; None after the last one, an exception where there will be no more."""
        self._queue.put(piece)

    def __iter__(self) -> Iterator[Tensor]:
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def drain(self) -> None:
        """Let whoever puts go on, though nobody wants the rest."""
        self.refused = True
        while isinstance(self._queue.get(), Tensor):
            pass


@dataclass(frozen=True)
class _Flush:
    done: Queue[None]


class Storing(Thread):
    """Adds clips to a dataset, and rows to the journal after the commit that covers them.

    What it raises, `put` and `flush` raise.
    """

    def __init__(
        self, writer: DatasetWriter, journal: Journal, ledger: Ledger, *, directory: str, commit_seconds: float
    ) -> None:
        super().__init__(name="vidlatent writer", daemon=True)
        self._writer, self._journal, self._ledger, self._directory = writer, journal, ledger, directory
        self._commit_seconds = commit_seconds if writer.grows else max(commit_seconds, _SHARD_SECONDS)
        self._queue: Queue[Any] = Queue(_QUEUED)
        self._committed_at, self._told_at = time.monotonic(), 0.0
        self._failures_told = 0
        self.error: BaseException | None = None

    def put(self, clip: Clip, latents: Tensor | Pieces) -> None:
        """Store a clip."""
        self._check()
        self._queue.put((clip, latents))

    def flush(self) -> None:
        """Wait until all that was put is durable."""
        done: Queue[None] = Queue()
        self._queue.put(_Flush(done))
        done.get()
        self._check()

    def stop(self) -> None:
        """End the thread; what was put before is stored."""
        self._queue.put(None)
        self.join()

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Flush):
                self._guarded(self._commit, True)
                item.done.put(None)
                continue
            self._guarded(self._store, *item)
            if isinstance(item[1], Pieces) and self.error is not None:
                item[1].drain()
            if time.monotonic() - self._committed_at >= self._commit_seconds:
                self._guarded(self._commit, False)

    def _guarded(self, action: Any, *arguments: Any) -> None:
        if self.error is not None:
            return  # after a full disk nothing is tried again
        try:
            action(*arguments)
        except BaseException as error:  # whatever it is, the thread that encodes has to know
            self.error = error

    def _store(self, clip: Clip, latents: Tensor | Pieces) -> None:
        state: RowState = clip.owner
        try:
            self._writer.add(clip.begin.key, latents, lambda: describe(clip))
        except ClipLost:
            return  # whoever lost it has told the ledger
        except LatentFileError:
            raise
        except InputError as error:  # values that the stored type cannot hold: this clip's trouble alone
            self._ledger.fail(state, "store", str(error))
            self._ledger.give_up(state, clip.begin.key)
            if isinstance(latents, Pieces):
                latents.drain()
            return
        self._ledger.stored(state, frames=len(clip.times), seconds=len(clip.times) / float(clip.begin.fps))

    def _commit(self, tell: bool) -> None:
        finished = self._ledger.take_finished()
        self._writer.commit()
        self._journal.append(finished)
        self._committed_at = time.monotonic()
        failures = self._ledger.stats().failures
        late = self._committed_at - self._told_at >= _TELL_SECONDS
        if tell or (late and failures != self._failures_told):
            write_failures(self._directory)
            self._told_at, self._failures_told = time.monotonic(), failures


def describe(clip: Clip) -> ClipMeta:
    """What travels with a clip's latents."""
    state: RowState = clip.owner
    row, begin, times = state.row, clip.begin, clip.times
    assert state.fetched is not None
    source = ClipSource(
        uri=row.name,
        sha256=state.fetched.sha256,
        start_seconds=times[0],
        stop_seconds=times[-1] + min(_last_step(times), 1 / begin.fps),
        fps=begin.shape.fps,
        size=None if begin.shape.size is None else begin.size,
    )
    return ClipMeta(
        num_frames=len(times),
        size=begin.size,
        fps=begin.fps,
        pts_seconds=tuple(times),
        source=source,
        caption=row.caption or "",
        columns=dict(row.columns),
    )


def _last_step(times: list[Fraction]) -> Fraction:
    """Seconds between the last two different times: where the next frame would come, at the latest."""
    later = next((time for time in reversed(times) if time < times[-1]), None)
    return Fraction(1, 1) if later is None else times[-1] - later
