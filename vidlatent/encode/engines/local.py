"""Workers of this process tree: one here, or one process for each device.

A worker process that is killed is started again; what it had committed is not encoded twice.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field, replace
from functools import reduce
from multiprocessing.connection import Connection, wait
from operator import add
from typing import Any

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.engines.devices import decoders_each, worker_devices
from vidlatent.encode.job import EncodeJob
from vidlatent.encode.pipeline.ledger import Stats
from vidlatent.encode.pipeline.processes import enter, process_context, start
from vidlatent.encode.pipeline.worker import Tell, Worker, check_failures
from vidlatent.errors import VidlatentError
from vidlatent.latents import write_stats

_FRUITLESS_STARTS = 5


def run_local(
    job: EncodeJob, ae: Autoencoder | None, *, device: str, workers: int | None, decoders: int | None, tell: Tell
) -> Stats:
    """Run a job on this machine's devices. `ae` is the job's autoencoder, where it is loaded already.

    Raises:
        VidlatentError: What a worker raised; or one of them dies again and again.
    """
    devices = worker_devices(device, workers)
    each = decoders_each(decoders, len(devices))
    if len(devices) > 1:
        stats = _Crew(job, devices, each, tell).run()
    else:
        source = job.open()
        ready = job.autoencoder(devices[0]) if ae is None else job.prepared(ae, devices[0])
        with Worker(job, ready, name="w0", decoders=each, tell=tell) as worker:
            stats = worker.run(source, total=source.num_rows)
    write_stats(job.out)
    return stats


@dataclass(eq=False)
class _Member:
    """A worker process, and what it has told so far."""

    rank: int
    device: str
    process: Any = None
    connection: Connection | None = None
    before: Stats = field(default_factory=Stats)
    stats: Stats = field(default_factory=Stats)
    fruitless: int = 0
    finished: bool = False

    @property
    def told(self) -> Stats:
        """Counts over all lives of this worker."""
        # What it skips after a death it has counted before.
        skipped = max(self.before.skipped, self.stats.skipped - self.before.rows)
        return replace(self.stats + self.before, skipped=skipped)


class _Crew:
    def __init__(self, job: EncodeJob, devices: list[str], decoders: int, tell: Tell) -> None:
        self._job, self._decoders, self._tell = job, decoders, tell
        self._context = process_context()
        self._members = [_Member(rank, device) for rank, device in enumerate(devices)]
        self._started = time.monotonic()
        self._total = job.open().num_rows  # and a source that is none is told before anything starts

    def run(self) -> Stats:
        try:
            for member in self._members:
                self._start(member)
            while working := {m.connection: m for m in self._members if m.connection and not m.finished}:
                for connection in wait(working):
                    self._hear(working[connection])  # type: ignore[index]
            return self._sum()
        finally:
            for member in self._members:
                self._end(member)

    def _start(self, member: _Member) -> None:
        member.connection, other = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_work,
            args=(self._job, member.rank, len(self._members), member.device, self._decoders, other),
            name=f"vidlatent worker {member.rank}",
        )
        start(process)
        member.process = process
        other.close()

    def _end(self, member: _Member) -> None:
        if member.process is not None and not member.finished:
            member.process.terminate()  # it commits what it has
            member.process.join(30)
            member.process.kill()

    def _hear(self, member: _Member) -> None:
        assert member.connection is not None
        try:
            message = member.connection.recv()
        except (EOFError, OSError):
            self._died(member)
            return
        if isinstance(message, Stats):
            member.stats = message
            stats = self._sum()
            self._tell(stats)
            check_failures(self._job, stats)
        elif isinstance(message, BaseException):
            raise message
        else:
            member.finished = True
            member.process.join()

    def _sum(self) -> Stats:
        summed = reduce(add, (member.told for member in self._members))
        fills = [member.stats.fill for member in self._members if member.stats.fill is not None]
        fill = sum(fills) / len(fills) if fills else None
        return replace(summed, total=self._total, fill=fill, elapsed=time.monotonic() - self._started)

    def _died(self, member: _Member) -> None:
        member.process.join()
        member.fruitless = 0 if member.stats.clips else member.fruitless + 1
        if member.fruitless >= _FRUITLESS_STARTS:
            raise VidlatentError(
                f"worker {member.rank} on {member.device} died {member.fruitless} times without encoding anything, "
                f"last with exit code {member.process.exitcode} (negative: the signal): is there memory enough?"
            )
        member.before, member.stats = member.told, Stats()
        self._start(member)


def _work(job: EncodeJob, rank: int, world: int, device: str, decoders: int, connection: Connection) -> None:
    """Body of a worker process."""
    enter(f"vl worker {rank}")
    signal.signal(signal.SIGTERM, _interrupted)  # as the owner tells
    try:
        ae = job.autoencoder(device)
        with Worker(job, ae, name=f"w{rank}", decoders=decoders, tell=connection.send) as worker:
            worker.run(job.share(rank, world))
        connection.send(None)
    except VidlatentError as error:
        connection.send(error)
    except Exception as error:
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _interrupted(number: int, frame: Any) -> None:  # noqa: ARG001 - what signal handlers take
    raise SystemExit(143)
