"""Whatever is killed wherever it is: what was committed stays, what was not is as if it had never been."""

import errno
import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dataset_helpers as helpers
import pytest
import torch

from vidlatent.latents import DatasetWriter, LatentDataset, committed_keys
from vidlatent.latents.dataset import shard, verify

NUMBERS = range(5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    helpers.write(folder, NUMBERS, commit_seconds=0)
    return folder


def resume(folder: Path, numbers: range = NUMBERS, *, worker: str = "w0", committed: set[str] | None = None) -> None:
    """What a pipeline does when it is started: leave out what is committed, write the rest."""
    done = committed_keys(folder) if committed is None else committed
    left = [number for number in numbers if helpers.key(number) not in done]
    helpers.write(folder, left, commit_seconds=0, worker=worker)


def forked(action: Callable[[], Any]) -> int:
    """Start a process that does this; an exit code of 0 where it came to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which the child uses none
        child = os.fork()
    if child:
        return child
    try:
        action()
    except BaseException:
        os._exit(1)
    os._exit(0)


def outcome(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(point: int) -> Iterator[None]:
    """Patch what changes a disk so that the process is killed at the given one of these steps, a write half done."""
    left = iter(range(point, -1, -1))

    def patched(before: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if next(left) == 0:
                if half:
                    half(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return before(*arguments, **options)

        return step

    write = shard._write
    shard._write = patched(write, lambda file, data: write(file, data[: len(data) // 2]))  # type: ignore[assignment]
    os.fsync = patched(os.fsync)
    os.link = patched(os.link)
    for name in ("replace", "unlink", "open"):
        setattr(Path, name, patched(getattr(Path, name)))
    yield


def check_what_is_there(folder: Path) -> set[str]:
    """Every clip that counts is right, whatever else lies around."""
    if not (folder / "dataset.json").exists():
        return set()
    dataset = LatentDataset(folder)
    for number in NUMBERS:
        if helpers.key(number) in dataset.keys:
            values = dataset[dataset.find(helpers.key(number))]["latents"]
            assert torch.equal(values, helpers.latents(number, helpers.frames_of(number)).bfloat16())
    assert committed_keys(folder) == set(dataset.keys)
    return set(dataset.keys)


def crash_and_resume(folder: Path, point: int, whole: Path) -> bool:
    """Die at a step, resume, compare; False where the run has fewer steps."""

    def run() -> None:
        for _ in dying_at(point):
            resume(folder)

    code = outcome(forked(run))
    assert code in (0, -signal.SIGKILL)
    before = check_what_is_there(folder)
    resume(folder)
    assert before <= committed_keys(folder)
    helpers.assert_same(folder, whole)
    found = verify(folder)
    assert found.ok, found.problems
    assert not found.unfinished
    assert not list(folder.glob("shards/*.part"))
    return code != 0


def test_dying_at_any_step(tmp_path: Path, whole: Path) -> None:
    points = [*range(0, 12, 3), *range(13, 400, 7)]
    reached = 0
    for point in points:
        if not crash_and_resume(tmp_path / str(point), point, whole):
            break
        reached += 1
    assert reached > 10
    assert reached < len(points)


@pytest.mark.slow
def test_dying_at_every_step(tmp_path: Path, whole: Path) -> None:
    point = 0
    while crash_and_resume(tmp_path / str(point), point, whole):
        point += 1
    print(f"{point} steps, each survived")
    assert point > 60


def test_dying_again_and_again_at_one_place(tmp_path: Path, whole: Path) -> None:
    """Recovery itself is killed, at later and later steps, until it comes through."""
    for point in range(5, 200, 3):

        def run(point: int = point) -> None:
            for _ in dying_at(point):
                resume(tmp_path)

        if outcome(forked(run)) == 0:
            break
        check_what_is_there(tmp_path)
    else:
        pytest.fail("it never came through")
    helpers.assert_same(tmp_path, whole)


def killed_at_random(folder: Path, numbers: range, kills: int, *, workers: int) -> tuple[int, int]:
    """Kill writers at random moments and start them again; kills that hit, and rounds."""
    draw, hit, rounds, committed = random.Random(0), 0, 0, set[str]()
    while hit < kills:
        rounds += 1
        assert rounds < 20 * kills, "nothing is ever hit"
        if len(committed) == len(numbers):  # all done: begin anew in another folder
            check_final(folder, numbers)
            folder, committed = folder.with_name(f"{folder.name}-{rounds}"), set()
        children = []
        for rank in range(workers):
            mine = range(numbers[0] + rank, numbers[-1] + 1, workers)
            children.append(forked(partial(resume, folder, mine, worker=f"w{rank}")))
        time.sleep(draw.uniform(0, 0.04) * workers)
        for child in children:
            os.kill(child, signal.SIGKILL)
        codes = [outcome(child) for child in children]
        assert set(codes) <= {0, -signal.SIGKILL}
        hit += sum(code != 0 for code in codes)
        now = committed_keys(folder)
        assert committed <= now
        committed = now
    resume(folder, numbers)
    check_final(folder, numbers)
    return hit, rounds


def check_final(folder: Path, numbers: range) -> None:
    resume(folder, numbers)  # finishes what the dead left
    found = verify(folder)
    assert found.ok, found.problems
    assert not found.unfinished
    dataset = LatentDataset(folder)
    assert dataset.keys == sorted(helpers.key(number) for number in numbers)
    for number in numbers:
        values = dataset[dataset.find(helpers.key(number))]["latents"]
        assert torch.equal(values, helpers.latents(number, helpers.frames_of(number)).bfloat16())


def test_random_kills(tmp_path: Path) -> None:
    killed_at_random(tmp_path / "set", range(40), 20, workers=1)


@pytest.mark.slow
def test_many_random_kills_of_two_writers(tmp_path: Path) -> None:
    hit, rounds = killed_at_random(tmp_path / "set", range(60), 400, workers=2)
    print(f"{hit} kills in {rounds} rounds survived")


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, helpers.settings(), worker="living", commit_seconds=0) as living:
        living.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
        helpers.write(tmp_path, [1], worker="other")
        assert (tmp_path / "shards" / "living-00000.tar.part").exists()
        living.add(helpers.key(2), helpers.latents(2, 12), helpers.meta(2, 12))
    assert len(LatentDataset(tmp_path)) == 3
    assert verify(tmp_path).ok


def test_without_locks_nothing_is_taken_over_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuses)
    dead = DatasetWriter(tmp_path, helpers.settings(), commit_seconds=0)
    dead.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
    assert dead._shard is not None
    dead._shard.abandon()
    helpers.write(tmp_path, [1, 2])
    assert LatentDataset(tmp_path).keys == sorted(helpers.key(number) for number in range(3))
    assert (tmp_path / "shards" / "w0-00000.tar.part").exists()
    assert (verify(tmp_path).ok, verify(tmp_path).unfinished) == (True, ["w0-00000"])
