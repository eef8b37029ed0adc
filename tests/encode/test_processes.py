"""Processes of a run: their names, and a start that outlives the death of the server that does it."""

from multiprocessing.connection import Connection

import psutil
import pytest

from vidlatent.encode.pipeline import processes


class Unlucky:
    """A process whose server dies while it is asked for it, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def start(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise EOFError


def test_a_start_is_tried_once_more() -> None:
    processes.start(Unlucky(1))
    with pytest.raises(EOFError):
        processes.start(Unlucky(2))


def wait_for_the_end(connection: Connection) -> None:
    processes.enter("vl decoder")
    connection.send("here")
    connection.recv()


def test_a_process_is_called_what_it_is() -> None:
    context = processes.process_context()
    own, other = context.Pipe()
    process = context.Process(target=wait_for_the_end, args=(other,))  # type: ignore[attr-defined]
    processes.start(process)
    other.close()
    assert own.recv() == "here"
    assert psutil.Process(process.pid).name() == "vl decoder"
    own.send(None)
    process.join(10)
    assert process.exitcode == 0
