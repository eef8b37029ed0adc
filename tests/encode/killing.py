"""A job that is started again and again while its processes are killed at random moments.

    python tests/encode/killing.py FOLDER [--kills 200] [--workers 2] [--videos 320]

The dataset has to come out as the one that was left alone; if it is finished before there were kills enough, so has
another one. Killed are the main process, workers, decoders, whoever has only begun, and in some runs the server that
starts them and the tracker of resources; a main process or worker takes its writer along, and half of these die at a
moment when something is being written.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from encode_helpers import KINDS, assert_same, clips_of, encode, make_model, make_videos

from vidlatent.encode import encode_dataset
from vidlatent.encode.pipeline import processes
from vidlatent.latents.dataset import verify

WEIGHTS = {"main": 4, "worker": 6, "decoder": 8, "beginner": 2, "server": 2, "tracker": 2}
LONGEST_PAUSE = 4  # between two kills: the time in which an uninterrupted run encodes so many videos here and now
ALONE = 0.1  # of the runs have a server of their own
POLL_SECONDS = 0.0005
_SERVER_GONE = 255
SHARD_BYTES = 20_000  # a few clips: shards are finished all the time


def run(source: str, out: str, model: str, options: dict[str, Any], alone: bool) -> None:
    if alone:
        del forkserver._forkserver.ensure_running  # type: ignore[attr-defined]  # see shared_server
    encode_dataset(source, out, model=model, **{**KINDS, "shard_bytes": SHARD_BYTES, **options})


@dataclass
class Killing:
    source: Path
    model: Path
    options: dict[str, Any]
    seed: int
    longest_pause: float = 1.0
    starts: int = 0
    gave_up: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        processes._PRELOADED = (*processes._PRELOADED, "shared_server", "encode_helpers")

    @property
    def kills(self) -> int:
        return sum(self.killed.values())

    def until_finished(self, out: Path, *, most: int) -> None:
        """Start the job until it comes to its end, which it is not spared before there were `most` kills in all."""
        while True:
            alone = self.chance.random() < ALONE
            main = processes.process_context().Process(  # type: ignore[attr-defined]
                target=run, args=(str(self.source), str(out), str(self.model), self.options, alone)
            )
            main.start()
            self.starts += 1
            patient = self.chance.random() < 0.8  # else it may be killed before it has begun
            while main.is_alive() and self.kills < most:
                time.sleep(self.chance.uniform(0, self.longest_pause))
                family = self.family(main)
                if "decoder" in family or not patient:
                    self.kill(family, main, out)
            main.join(300)
            if main.exitcode == 0:
                return
            # A worker that was killed five times before it told of a clip makes the job give up, with a reason.
            if main.exitcode == _SERVER_GONE:  # it ends when somebody is killed while asking it for a process
                self.end(main)
                continue
            gave_up = main.exitcode == 1 and self.options["workers"] > 1 and self.kills < most
            assert gave_up or main.exitcode == -signal.SIGKILL, main.exitcode
            self.gave_up += gave_up

    def end(self, main: BaseProcess) -> None:
        """Kill a main process of which nobody tells any more how it ended."""
        assert main.pid is not None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(main.pid)
            process.kill()
            process.wait(30)
            self.killed["main"] += 1

    def family(self, main: BaseProcess) -> dict[str, list[int]]:
        """Processes of the job by what they are, as they call themselves."""
        assert main.pid is not None
        found: dict[str, list[int]] = {"main": [main.pid]}
        try:
            process = psutil.Process(main.pid)
            below, beside = process.children(recursive=True), process.parent().children()
        except psutil.NoSuchProcess:
            return found
        for other in {*below, *beside} - {process}:
            try:
                if other.parent() == process:
                    role = "tracker" if "resource_tracker" in " ".join(other.cmdline()) else "server"
                else:
                    role = next((role for role in ("worker", "decoder") if role in other.name()), "beginner")
            except psutil.NoSuchProcess:
                continue
            self.seen.add(other.pid)
            found.setdefault(role, []).append(other.pid)
        return found

    def kill(self, family: dict[str, list[int]], main: BaseProcess, out: Path) -> None:
        roles = list(family)
        role = self.chance.choices(roles, [WEIGHTS[role] for role in roles])[0]
        victim = self.chance.choice(family[role])
        if role in ("main", "worker") and self.chance.random() < 0.5 and wait_for_a_write(out / "shards"):
            role += " while it wrote"
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[role] += 1
        if self.kills % 20 == 0:
            print(self, flush=True)
        if victim == main.pid:
            main.join()

    def assert_nobody_is_left(self) -> None:
        until = time.monotonic() + 60
        while left := [pid for pid in self.seen if psutil.pid_exists(pid)]:
            assert time.monotonic() < until, left
            time.sleep(0.1)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} of a {role}" for role, count in sorted(self.killed.items()))
        return f"{self.kills} kills ({kinds}), {self.starts} starts, {self.gave_up} jobs gave up"


def wait_for_a_write(shards: Path, patience: float = 0.5) -> bool:
    """Whether something in a folder has grown just now."""
    before, until = sizes(shards), time.monotonic() + patience
    while time.monotonic() < until:
        if sizes(shards) != before:
            return True
        time.sleep(POLL_SECONDS)
    return False


def sizes(folder: Path) -> dict[str, int]:
    try:
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    except FileNotFoundError:  # not there yet, or renamed in between
        return {}


def check(out: Path, whole: Path) -> None:
    assert_same(clips_of(out), clips_of(whole))
    assert verify(out).ok
    assert not (out / "failures.jsonl").exists()
    assert len(list((out / "progress").glob("*.jsonl"))) >= 1
    assert not [name for name in os.listdir(out / "shards") if name.endswith(".part")]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--videos", type=int, default=320)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=11)
    chosen = parser.parse_args(arguments)
    here = str(Path(__file__).resolve().parent)  # the server of processes does not get this one's search path
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    folder, options = chosen.folder, {"workers": chosen.workers, "decoders": 2 if chosen.workers == 1 else 1}
    source, model = make_videos(folder / "videos", chosen.videos), make_model(folder / "m.safetensors")
    killing = Killing(source, model, options, chosen.seed)
    datasets, started = 0, time.monotonic()
    encode(source, folder / "whole", model)
    killing.longest_pause = LONGEST_PAUSE * (time.monotonic() - started) / chosen.videos
    while killing.kills < chosen.kills:
        datasets += 1
        killing.until_finished(folder / f"out{datasets}", most=chosen.kills)
        check(folder / f"out{datasets}", folder / "whole")
        seconds = time.monotonic() - started
        print(f"{killing}; {datasets} dataset(s), each as the uninterrupted one; {seconds:.0f} s", flush=True)
    killing.assert_nobody_is_left()


if __name__ == "__main__":
    main(sys.argv[1:])
