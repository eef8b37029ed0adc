"""Rows in, frames out: threads that fetch, processes that decode, and the thread that looks after both.

A decoder that crashes, hangs or is killed takes nobody along: its video is tried again or given up, and another process
takes its place.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from vidlatent.encode.pipeline.buffer import Buffer, Clip
from vidlatent.encode.pipeline.cutting import Begin, End, Frames, Task
from vidlatent.encode.pipeline.decoder import Decoder, Done, Failed, Ready
from vidlatent.encode.pipeline.ledger import Ledger, RowState, Stage
from vidlatent.encode.pipeline.processes import process_context
from vidlatent.encode.policy import ClipPolicy
from vidlatent.encode.sources import ClipRow, fetch
from vidlatent.errors import VideoError, VidlatentError

_CRASHES, _KILLS = 2, 5  # attempts at a video whose decoder crashes by itself, or is killed by somebody
_STARTS = 8  # processes in a row that ended before they began
_FEEDERS = 3


@dataclass(eq=False)
class _Seat:
    """A decode process and what it is at."""

    decoder: Decoder
    ready: bool = False
    state: RowState | None = None
    clip: Clip | None = None


class Bell:
    """Wakes a thread that waits for connections."""

    def __init__(self, pipe: tuple[Connection, Connection]) -> None:
        self.heard, self._rung = pipe
        self._lock, self._pending = Lock(), False

    def ring(self) -> None:
        """Wake it, now or when it waits next."""
        with self._lock:
            if not self._pending:
                self._pending = True
                self._rung.send_bytes(b"!")

    def clear(self) -> None:
        """It is awake."""
        with self._lock:
            if self._pending:
                self.heard.recv_bytes()
                self._pending = False


class DecodePool:
    """Decode processes that outlive a batch of rows. Close it."""

    def __init__(self, size: int, *, timeout_seconds: float) -> None:
        self._context = process_context()
        self.timeout_seconds = timeout_seconds
        self._failed_starts = 0
        self.bell = Bell(self._context.Pipe(duplex=False))
        self.seats = [_Seat(self._start()) for _ in range(size)]

    def _start(self) -> Decoder:
        return Decoder(self._context, self.timeout_seconds)

    def replace(self, seat: _Seat) -> None:
        """A new process instead of one that is gone. Raises `VidlatentError` where none will start."""
        if not seat.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise VidlatentError(
                    f"decode processes end before they begin ({seat.decoder.fate()[0]}): a script that calls this "
                    "needs `if __name__ == '__main__':` around what it does"
                )
        seat.decoder.close()
        seat.decoder, seat.ready, seat.state, seat.clip = self._start(), False, None, None

    def started(self, seat: _Seat) -> None:
        """A process has begun."""
        self._failed_starts, seat.ready = 0, True

    def close(self) -> None:
        """End all processes."""
        for seat in self.seats:
            seat.decoder.close()


class Intake(Thread):
    """Feeds a buffer with the clips of rows until there are no more. `error` is what stopped it early.

    Args:
        rows: Taken as needed, by one thread at a time.
        pool: Whose processes are used.
        policy: How clips are cut.
        buffer: Where frames go.
        ledger: Told of everything.
        scratch: Folder for copies of what is not a local file.
        num_threads: Of each decoder.
    """

    def __init__(
        self,
        rows: Iterable[ClipRow],
        *,
        pool: DecodePool,
        policy: ClipPolicy,
        buffer: Buffer,
        ledger: Ledger,
        scratch: Path,
        num_threads: int,
    ) -> None:
        super().__init__(name="vidlatent intake", daemon=True)
        self._pool, self._policy, self._buffer, self._ledger = pool, policy, buffer, ledger
        self._scratch, self._num_threads = scratch, num_threads
        self._rows, self._rows_lock = iter(rows), Lock()
        self._waiting: queue.Queue[RowState] = queue.Queue(2 * len(pool.seats))
        self._again: deque[RowState] = deque()
        self._halted = Event()
        self._feeders = [Thread(target=self._feed, daemon=True) for _ in range(_FEEDERS)]
        self._feeding = len(self._feeders)
        self.error: BaseException | None = None

    def stop(self) -> None:
        """Give up what is under way, and wait until that is done."""
        self._halted.set()
        self._pool.bell.ring()
        self.join()

    def run(self) -> None:
        for feeder in self._feeders:
            feeder.start()
        try:
            while not self._halted.is_set() and self.error is None and self._busy():
                self._hand_out()
                self._hear(self._patience())
        except BaseException as error:
            self.error = error
        finally:
            self._halted.set()
            for seat in self._pool.seats:
                if seat.state is not None:  # stopped: nothing of it may go on
                    self._abandon_clip(seat, wanted=True)
                    self._pool.replace(seat)
            for feeder in self._feeders:
                feeder.join()
            self._buffer.finish()

    def _busy(self) -> bool:
        return bool(self._feeding or self._again or not self._waiting.empty()) or any(
            seat.state is not None for seat in self._pool.seats
        )

    # Fetching, in threads of its own.

    def _feed(self) -> None:
        try:
            for row in self._next_rows():
                state = RowState(row)
                if self._fetched(state):
                    self._offer(state)
                else:
                    self._ledger.end(state)
        except BaseException as error:  # the source itself cannot be read on
            self.error = self.error or error
        finally:
            with self._rows_lock:
                self._feeding -= 1
            self._pool.bell.ring()

    def _next_rows(self) -> Iterator[ClipRow]:
        while not self._halted.is_set():
            with self._rows_lock:
                row = next(self._rows, None)
            if row is None:
                return
            yield row

    def _fetched(self, state: RowState) -> bool:
        if state.row.problem:
            self._ledger.fail(state, "source", state.row.problem)
            return False
        try:
            state.fetched = fetch(state.row, self._scratch)
        except VideoError as error:
            self._ledger.fail(state, "fetch", error.reason)
        return state.failure is None

    def _offer(self, state: RowState) -> None:
        while not self._halted.is_set():
            try:
                self._waiting.put(state, timeout=0.2)
            except queue.Full:
                continue
            self._pool.bell.ring()
            return
        if state.fetched is not None:
            state.fetched.drop()

    # Decoding.

    def _hand_out(self) -> None:
        for seat in self._pool.seats:
            if not seat.ready or seat.state is not None:
                continue
            try:
                state = self._again.popleft() if self._again else self._waiting.get_nowait()
            except queue.Empty:
                return
            self._begin_row(seat, state)

    def _begin_row(self, seat: _Seat, state: RowState) -> None:
        seat.state = state
        seat.decoder.heard = time.monotonic()
        row = state.row
        assert state.fetched is not None
        task = Task(
            path=state.fetched.path,
            name=row.name,
            sha256=state.fetched.sha256,
            policy=self._policy,
            start=row.start,
            stop=row.stop,
            cuts=row.cuts,
            num_threads=self._num_threads,
        )
        try:
            seat.decoder.inlet.send(task)
        except OSError:
            self._crashed(seat)

    def _patience(self) -> float | None:
        """Seconds until a decoder is late; None where none is at work that we do not keep waiting."""
        working = [seat for seat in self._pool.seats if seat.state is not None and self._buffer.accepts(seat.clip)]
        if not working:
            return None
        oldest = min(seat.decoder.heard for seat in working)
        return max(0.0, oldest + self._pool.timeout_seconds - time.monotonic())

    def _hear(self, patience: float | None) -> None:
        """Wait for word of the decoders whose frames there is room for, and take it."""
        heeded = [seat for seat in self._pool.seats if self._buffer.accepts(seat.clip)]
        connections: dict[Any, _Seat] = {seat.decoder.connection: seat for seat in heeded}
        bell = self._pool.bell
        found = wait([*connections, bell.heard], patience)
        if bell.heard in found:
            bell.clear()
        now = time.monotonic()
        for seat in self._pool.seats:
            if seat.decoder.connection in found or seat not in heeded:
                seat.decoder.heard = now
        for connection in found:
            if connection in connections:
                self._receive_all(connections[connection])
        for seat in heeded:
            if seat.state is not None and now - seat.decoder.heard > self._pool.timeout_seconds:
                self._hangs(seat)

    def _receive_all(self, seat: _Seat) -> None:
        """All that there is room for: waiting for each message anew costs more than taking it."""
        while self._buffer.accepts(seat.clip) and seat.decoder.connection.poll():
            self._receive(seat)

    def _receive(self, seat: _Seat) -> None:
        try:
            message = seat.decoder.inlet.receive()
        except (EOFError, OSError):
            self._crashed(seat)
            return
        match message:
            case Ready():
                self._pool.started(seat)
            case Begin():
                self._begin_clip(seat, message)
            case Frames() if seat.clip is not None:
                self._buffer.add(seat.clip, message.frames, message.times)
            case End():
                self._end_clip(seat, kept=message.kept)
            case Failed():
                self._abandon_clip(seat)
                self._fail(seat, "decode", message.reason)
            case Done():
                self._end_row(seat)

    def _begin_clip(self, seat: _Seat, begin: Begin) -> None:
        assert seat.state is not None
        if self._ledger.claim(seat.state, begin.key):
            seat.clip = Clip(begin, seat.state)
            self._buffer.begin(seat.clip)

    def _end_clip(self, seat: _Seat, *, kept: bool) -> None:
        if not kept:
            self._abandon_clip(seat)
        elif seat.clip is not None:
            self._buffer.end(seat.clip)
            seat.clip = None

    def _abandon_clip(self, seat: _Seat, *, wanted: bool = False) -> None:
        if seat.clip is not None and seat.state is not None:
            self._buffer.end(seat.clip, lost=True)
            self._ledger.give_up(seat.state, seat.clip.begin.key, wanted=wanted)
            seat.clip = None

    def _fail(self, seat: _Seat, stage: Stage, reason: str) -> None:
        assert seat.state is not None
        self._ledger.fail(seat.state, stage, reason)

    def _end_row(self, seat: _Seat) -> None:
        assert seat.state is not None
        self._ledger.end(seat.state)
        seat.state = None

    def _crashed(self, seat: _Seat) -> None:
        fate, by_somebody = seat.decoder.fate()
        state = seat.state
        if state is not None:
            state.attempts += 1
            again = state.attempts < (_KILLS if by_somebody else _CRASHES)
            self._abandon_clip(seat, wanted=again)
            if again:
                self._again.append(state)
            else:
                self._fail(seat, "decode", f"the decoder crashed ({fate}), {state.attempts} times")
                self._end_row(seat)
        self._pool.replace(seat)

    def _hangs(self, seat: _Seat) -> None:
        self._abandon_clip(seat)
        self._fail(seat, "decode", f"decoding hangs: no frames within {self._pool.timeout_seconds:g} s")
        self._end_row(seat)
        self._pool.replace(seat)
