"""The body of a decode process, and the process as its owner sees it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

import torch

from vidlatent.encode.pipeline.cutting import Task, cut
from vidlatent.encode.pipeline.processes import enter, start
from vidlatent.encode.pipeline.transport import Inlet, Outlet, new_ring
from vidlatent.errors import VideoError

_EXIT_SECONDS = 5
_UNKNOWN = 255
_ALARM_SLACK_SECONDS = 5


@dataclass(frozen=True)
class Ready:
    """The process has begun."""


@dataclass(frozen=True)
class Failed:
    """A video gave no more clips, and why."""

    reason: str


@dataclass(frozen=True)
class Done:
    """The decoder is through with a video, well or not."""


class Decoder:
    """A decode process. It ends with its owner, whatever that dies of."""

    def __init__(self, context: BaseContext, timeout_seconds: float) -> None:
        ring = new_ring(context)
        own, other = context.Pipe()
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(other, ring, timeout_seconds), daemon=True, name="vidlatent decoder"
        )
        start(self.process)
        other.close()  # the process alone holds it, so that its death is seen as the end of the pipe
        self.inlet = Inlet(own, ring)
        self.connection: Connection = own
        self.heard = time.monotonic()

    def fate(self) -> tuple[str, bool]:
        """What a process died of, and whether somebody else did it."""
        self.process.join(_EXIT_SECONDS)
        code = self.process.exitcode
        if code is None:
            return "it did not exit", False
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return f"signal {-code}, {name}", -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
        # The server of processes answers 255 for one that it does not know of any more.
        return f"exit code {code}", code == _UNKNOWN

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.join(_EXIT_SECONDS)


def _serve(connection: Connection, ring: Any, timeout_seconds: float) -> None:
    enter("vl decoder")
    torch.set_num_threads(1)
    outlet = Outlet(connection, ring)
    try:
        outlet.send(Ready())
        while (task := outlet.next_task()) is not None:
            _decode(outlet, task, timeout_seconds)
            outlet.send(Done())
    except (BrokenPipeError, ConnectionError, EOFError):
        return


def _decode(outlet: Outlet, task: Task, timeout_seconds: float) -> None:
    events = cut(task)
    try:
        while True:
            with _alarm(timeout_seconds):
                event = next(events, None)
            if event is None:
                return
            outlet.give(event)
    except VideoError as error:
        outlet.send(Failed(error.reason))
    except (BrokenPipeError, ConnectionError, EOFError):
        raise
    except Exception as error:
        outlet.send(Failed(f"{type(error).__name__}: {error}"))
    finally:
        events.close()  # type: ignore[attr-defined]


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Let the system end this process should it hang where Python cannot, and its owner be gone."""
    if hasattr(signal, "alarm"):
        signal.alarm(ceil(seconds) + _ALARM_SLACK_SECONDS)
    yield
    if hasattr(signal, "alarm"):
        signal.alarm(0)
