"""One worker: an autoencoder on a device, decoders that feed it, shards that it writes; it knows of no others."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.job import EncodeJob
from vidlatent.encode.pipeline.buffer import Batch, Buffer, Clip, ClipLost
from vidlatent.encode.pipeline.encoder import ClipEncoder
from vidlatent.encode.pipeline.intake import DecodePool, Intake
from vidlatent.encode.pipeline.journal import Journal, finished_rows
from vidlatent.encode.pipeline.ledger import Ledger, Stats
from vidlatent.encode.pipeline.storing import Pieces, Storing
from vidlatent.encode.sources import ClipRow
from vidlatent.errors import VidlatentError
from vidlatent.latents import DatasetWriter, committed_keys

Tell = Callable[[Stats], None]

_TELL_SECONDS = 0.5


class TooManyFailures(VidlatentError):  # noqa: N818 - reads as what it is
    """More rows failed than the job allows; what was encoded is kept."""


class Worker:
    """Encodes rows of a job until told that there are no more; a context manager.

    Args:
        job: What is encoded, how, and where to.
        ae: Its autoencoder, on the device and in the type to compute with.
        name: Of this worker: of its shards and its journal.
        decoders: Decode processes.
        tell: Called with the counts about twice a second, and at the end.
    """

    def __init__(self, job: EncodeJob, ae: Autoencoder, *, name: str, decoders: int, tell: Tell | None = None) -> None:
        self._job, self._tell, self._told_at = job, tell, 0.0
        self._encoder = ClipEncoder(ae, memory=job.memory, kind=job.kind, batch=job.batch)
        self._scratch = _fresh_scratch(job.out, name)
        self._threads = max(1, (os.cpu_count() or 1) // decoders)
        self._writer = DatasetWriter(
            job.out,
            job.settings,
            worker=name,
            shard_bytes=job.shard_bytes,
            commit_seconds=job.commit_seconds,
            stats=False,
        )
        self._journal = Journal(job.out, name)
        self._committed = committed_keys(job.out)
        self._through = finished_rows(job.out, self._committed, retry_failed=job.retry_failed)
        self._pool = DecodePool(decoders, timeout_seconds=job.timeout_seconds)

    def run(self, rows: Iterable[ClipRow], *, total: int | None = None) -> Stats:
        """Encode rows that no earlier run was through with; all is durable when this returns.

        Raises:
            TooManyFailures: As the job says.
            LatentFileError: The dataset cannot be written.
            InputError: The source cannot be read on.
        """
        job = self._job
        ledger = Ledger(self._committed, total=total)
        buffer = Buffer(job.buffer_bytes, batch_of=self._encoder.batch_of, on_room=self._pool.bell.ring)
        intake = Intake(
            self._fresh(rows, ledger),
            pool=self._pool,
            policy=job.policy,
            buffer=buffer,
            ledger=ledger,
            scratch=self._scratch,
            num_threads=self._threads,
        )
        storing = Storing(self._writer, self._journal, ledger, directory=job.out, commit_seconds=job.commit_seconds)
        intake.start()
        storing.start()
        try:
            while (work := buffer.take()) is not None:
                if isinstance(work, Batch):
                    self._encode(work, buffer, ledger, storing)
                else:
                    self._stream(work, buffer, ledger, storing)
                self._report(ledger.stats(fill=buffer.fill, waited=buffer.waited))
            if intake.error is not None:
                raise intake.error
            check_failures(job, ledger.stats())
        finally:
            # Whatever went wrong, what is encoded is stored.
            intake.stop()
            try:
                storing.flush()
            finally:
                storing.stop()
        stats = ledger.stats(waited=buffer.waited)
        self._report(stats, last=True)
        return stats

    def _fresh(self, rows: Iterable[ClipRow], ledger: Ledger) -> Iterator[ClipRow]:
        for row in rows:
            if row.digest in self._through:
                ledger.skip()
            else:
                yield row

    def _encode(self, batch: Batch, buffer: Buffer, ledger: Ledger, storing: Storing) -> None:
        clips = batch.clips
        try:
            latents = self._encoder.encode([clip.waiting for clip in clips], [clip.begin.key for clip in clips])
        except Exception as error:  # one clip of a batch must not take the others along
            if len(clips) == 1:
                self._failed(clips[0], error, ledger)
            else:
                for clip in clips:
                    self._encode(Batch([clip]), buffer, ledger, storing)
                return
        else:
            for clip, of_clip in zip(clips, latents, strict=True):
                storing.put(clip, of_clip)
        finally:
            buffer.release(clips)

    def _stream(self, clip: Clip, buffer: Buffer, ledger: Ledger, storing: Storing) -> None:
        pieces = Pieces()
        storing.put(clip, pieces)
        runs = buffer.stream(clip)
        try:
            for latents in self._encoder.stream(runs, clip.begin.size, clip.begin.key):
                if pieces.refused:
                    break
                pieces.put(latents)
            pieces.put(None)
        except ClipLost as lost:
            pieces.put(lost)
        except Exception as error:
            pieces.put(ClipLost())
            self._failed(clip, error, ledger)
        except BaseException:
            pieces.put(ClipLost())
            raise
        finally:
            runs.close()

    def _failed(self, clip: Clip, error: Exception, ledger: Ledger) -> None:
        text = str(error).splitlines()
        reason = (
            str(error) if isinstance(error, VidlatentError) else f"{type(error).__name__}: {text[0] if text else ''}"
        )
        ledger.fail(clip.owner, "encode", reason)
        ledger.give_up(clip.owner, clip.begin.key)

    def _report(self, stats: Stats, *, last: bool = False) -> None:
        check_failures(self._job, stats)
        if self._tell and (last or time.monotonic() - self._told_at >= _TELL_SECONDS):
            self._told_at = time.monotonic()
            self._tell(stats)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._writer.__exit__(kind, error, trace)


def check_failures(job: EncodeJob, stats: Stats) -> None:
    """Stop a run in which more videos failed than may, of one worker or of all. Raises `TooManyFailures`."""
    most = job.max_failures
    if most is not None and stats.failures > most:
        raise TooManyFailures(
            f"{stats.failures} videos failed, and no more than {most} may (--max-failures): failures.jsonl in "
            f"{job.out} says why; what was encoded is kept"
        )


def _fresh_scratch(out: str, name: str) -> Path:
    """A folder for copies; named so that what a killed worker of this name left is found and removed."""
    digest = hashlib.sha256(f"{os.path.abspath(out)} {name}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"vidlatent-{digest}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
