"""A process that streams is killed at any moment and started again: the answer is the same, bit for bit."""

import multiprocessing
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from killed_stream import CASES, CUTS, SIZE, Job, load, run, whole_input

from vidlatent.streaming.shelf import Kept
from vidlatent.testing import relative_error

KILLS = 4
SAVES = len(CASES) * (len(CUTS) + 1)

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs new processes that start fast"
)


def program(folder: Path, notes: Connection) -> None:
    run(folder, notes.send)


def start(folder: Path) -> tuple[multiprocessing.Process, Connection]:
    """A new process, and the end of a pipe that gets a line for each save."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vidlatent.autoencoders", "torch"])
    notes, theirs = context.Pipe(duplex=False)
    process = context.Process(target=program, args=(folder, theirs))
    process.start()
    theirs.close()
    return process, notes


def received(notes: Connection, most: int) -> int:
    """Wait for so many saves; fewer if the process ends before."""
    for count in range(most):
        try:
            notes.recv()
        except EOFError:
            return count
    return most


def was_killed(folder: Path, saves: int, seconds: float) -> bool:
    """Start it, and kill it a moment after so many saves; whether it had not ended by itself."""
    process, notes = start(folder)
    with notes:
        received(notes, saves)
        time.sleep(seconds)
        process.kill()
        process.join()
    return process.exitcode == -signal.SIGKILL


def answers(folder: Path) -> dict[str, torch.Tensor]:
    return {name: torch.load(folder / f"{name}.pt", weights_only=True)["answer"] for name in CASES}


def test_killed_and_started_again_it_gives_the_same_bits(tmp_path: Path) -> None:
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    killed.mkdir()
    straight.mkdir()
    rng = random.Random(0)
    moments = [(rng.randrange(SAVES // (KILLS + 2)), rng.uniform(0, 0.03)) for _ in range(KILLS)]
    kills = sum(was_killed(killed, *moment) for moment in moments)
    assert kills > KILLS // 2, f"{kills} of {KILLS} kills came before the end"
    last, notes = start(killed)
    with notes:
        assert 0 < received(notes, SAVES) < SAVES, "nothing was taken up"
        last.join()
    assert last.exitcode == 0

    run(straight, lambda name: None)
    got, want = answers(killed), answers(straight)
    assert [name for name in CASES if not torch.equal(got[name], want[name])] == []
    ae = load()
    for name, case in CASES.items():
        x = whole_input(ae, case)
        whole = ae.encode(x).mean if case.direction == "encode" else ae.decode(x, size=SIZE)
        assert relative_error(want[name], whole) <= 1e-5, name


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.plan and case.plan.keep == "file"])
def test_taken_up_again_the_state_goes_back_to_its_file(name: str, tmp_path: Path) -> None:
    ae = load()
    first = Job(ae, name, tmp_path)
    for _ in range(3):
        first.step()
    second = Job(ae, name, tmp_path)
    second.step()
    first.step()
    places = [[isinstance(held, Kept) for held in job.stream._slabs.sweep.tensors()] for job in (first, second)]
    assert places[0] == places[1]
    assert any(places[0])


def test_a_budget_goes_with_the_state(tmp_path: Path) -> None:
    ae = load()
    first = Job(ae, "decode, budget", tmp_path)
    first.step()
    second = Job(ae, "decode, budget", tmp_path)
    assert second.stream._slabs.plan == first.stream._slabs.plan
    assert second.stream._slabs.plan.budget_bytes == first.stream._slabs.plan.budget_bytes > 0
