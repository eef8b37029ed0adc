"""What became of each row and each clip, in memory while a worker runs; all of its threads tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Literal

from vidlatent.encode.sources import ClipRow, Fetched

Stage = Literal["source", "fetch", "decode", "encode", "store"]


@dataclass(frozen=True)
class Stats:
    """Counts of a run so far.

    Args:
        clips, frames, seconds: Stored in this run: clips, their video frames, how long these last.
        rows: Rows that this run is through with, failed ones included.
        failures: Rows of this run that failed.
        skipped: Rows that an earlier run was through with.
        known: Clips that were in the dataset already, or came from another row.
        total: Rows of the source, None where it does not say.
        fill: How full the buffer between decoding and the model is now; None where nobody tells.
        ran, waited: Seconds that workers ran, summed over them, and of these, how long their models had no frames.
        elapsed: Seconds since the start.
    """

    clips: int = 0
    frames: int = 0
    seconds: float = 0.0
    rows: int = 0
    failures: int = 0
    skipped: int = 0
    known: int = 0
    total: int | None = None
    fill: float | None = None
    ran: float = 0.0
    waited: float = 0.0
    elapsed: float = 0.0

    def __add__(self, other: Stats) -> Stats:
        """Counts of two workers of one run together; total, fill and elapsed stay those of the first."""
        counts = ("clips", "frames", "seconds", "rows", "failures", "skipped", "known", "ran", "waited")
        summed: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return replace(self, **summed)

    @property
    def busy(self) -> float:
        """Share of the time in which models had frames: towards 1 they are what limits, below it decoding is."""
        return 1 - self.waited / self.ran if self.ran else 0.0

    @property
    def left_seconds(self) -> float | None:
        """How long the rest takes at this pace, None where that cannot be said."""
        if self.total is None or not self.rows or not self.elapsed:
            return None
        return max(0, self.total - self.skipped - self.rows) * self.elapsed / self.rows


@dataclass
class RowState:
    """A row on its way."""

    row: ClipRow
    fetched: Fetched | None = None
    attempts: int = 0
    keys: list[str] = field(default_factory=list)
    open_clips: int = 0
    ended: bool = False
    failure: tuple[Stage, str] | None = None


class Ledger:
    """Counts, keys and finished rows.

    Args:
        committed: Keys that are in the dataset already; it grows by what is claimed.
        total: Rows of the source, where known.
    """

    def __init__(self, committed: set[str], *, total: int | None = None) -> None:
        self._lock = Lock()
        self._claimed = committed
        self._stats = Stats(total=total)
        self._finished: list[Mapping[str, Any]] = []
        self._started = time.monotonic()

    def stats(self, *, fill: float | None = None, waited: float = 0.0) -> Stats:
        """Counts as they are now; `waited` is how long the model had no frames."""
        with self._lock:
            elapsed = time.monotonic() - self._started
            return replace(self._stats, fill=fill, ran=elapsed, waited=waited, elapsed=elapsed)

    def skip(self) -> None:
        """An earlier run was through with a row."""
        with self._lock:
            self._count(skipped=1)

    def claim(self, state: RowState, key: str) -> bool:
        """Whether this clip is still to be encoded; if so, nobody else will."""
        with self._lock:
            if key not in state.keys:
                state.keys.append(key)
            if key in self._claimed:
                self._count(known=1)
                return False
            self._claimed.add(key)
            state.open_clips += 1
            return True

    def give_up(self, state: RowState, key: str, *, wanted: bool = False) -> None:
        """A claimed clip does not come about; `wanted` where another attempt will be made."""
        with self._lock:
            self._claimed.discard(key)
            if not wanted:
                state.keys.remove(key)
            self._close_clip(state)

    def stored(self, state: RowState, *, frames: int, seconds: float) -> None:
        """A clip is with the writer."""
        with self._lock:
            self._count(clips=1, frames=frames, seconds=seconds)
            self._close_clip(state)

    def fail(self, state: RowState, stage: Stage, reason: str) -> None:
        """Something of a row cannot be encoded; the first reason stays."""
        with self._lock:
            state.failure = state.failure or (stage, reason)

    def end(self, state: RowState) -> None:
        """No further clips of a row come."""
        with self._lock:
            state.ended = True
            self._close_row(state)

    def _close_clip(self, state: RowState) -> None:
        state.open_clips -= 1
        self._close_row(state)

    def _close_row(self, state: RowState) -> None:
        if not state.ended or state.open_clips:
            return
        if state.fetched is not None:
            state.fetched.drop()
        self._count(rows=1, failures=state.failure is not None)
        record: dict[str, Any] = {"row": state.row.digest, "keys": state.keys, "time": round(time.time(), 3)}
        if state.failure is not None:
            span = {"start": state.row.start, "stop": state.row.stop}
            record |= {"path": state.row.name, "stage": state.failure[0], "error": state.failure[1]}
            record |= {name: float(at) for name, at in span.items() if at is not None}
        self._finished.append(record)

    def _count(self, **more: float) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})

    def take_finished(self) -> list[Mapping[str, Any]]:
        """Records of rows that were finished since this was asked last."""
        with self._lock:
            finished, self._finished = self._finished, []
            return finished
