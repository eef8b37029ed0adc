"""A job that is started again and again while its processes are killed at random moments."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from encode_helpers import KINDS

from vidlatent.encode import encode_dataset
from vidlatent.encode.pipeline.decoder import process_context

# How often each is chosen. A killed main or worker takes its writer along; half of these die while it writes.
WEIGHTS = {"main": 4, "worker": 4, "decoder": 14, "server": 1, "tracker": 1}
WRITERS = ("main", "worker")
_POLL_SECONDS = 0.0005


def _run(source: str, out: str, model: str, options: dict[str, Any]) -> None:
    encode_dataset(source, out, model=model, **{**KINDS, **options})


@dataclass
class Killing:
    """Kills main, workers, decoders, the server that starts them and the tracker of resources, and counts."""

    source: Path
    model: Path
    options: dict[str, Any]
    seed: int
    longest_pause: float = 0.15
    starts: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    @property
    def kills(self) -> int:
        return sum(self.killed.values())

    def until_finished(self, out: Path, *, most: int) -> None:
        """Start the job until it comes to its end, which it is not spared before there were `most` kills in all."""
        while True:
            main = process_context().Process(  # type: ignore[attr-defined]
                target=_run, args=(str(self.source), str(out), str(self.model), self.options)
            )
            main.start()
            self.starts += 1
            patient = self.chance.random() < 0.8  # else it may be killed before it has begun
            while main.is_alive() and self.kills < most:
                time.sleep(self.chance.uniform(0, self.longest_pause))
                family = self._family(main.pid)
                if "decoder" in family or not patient:
                    self._kill(family, out)
            main.join(300)
            assert main.exitcode in (0, -signal.SIGKILL)
            if main.exitcode == 0:
                return

    def _family(self, main: int | None) -> dict[str, list[int]]:
        """Processes by what they are, which their place in the tree tells: a server starts workers or decoders."""
        assert main is not None
        family, several = {"main": [main]}, self.options.get("workers", 1) > 1

        def look(parent: psutil.Process, roles: tuple[str, ...]) -> None:
            for child in parent.children():
                self.seen.add(child.pid)
                tracker = roles[0] == "server" and "resource_tracker" in " ".join(child.cmdline())
                family.setdefault("tracker" if tracker else roles[0], []).append(child.pid)
                if len(roles) > 1:
                    look(child, roles[1:])

        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # what was found is enough
            look(psutil.Process(main), ("server", *(("worker", "server") if several else ()), "decoder"))
        return family

    def _kill(self, family: dict[str, list[int]], out: Path) -> None:
        roles = list(family)
        role = self.chance.choices(roles, [WEIGHTS[role] for role in roles])[0]
        victim = self.chance.choice(family[role])
        if role in WRITERS and self.chance.random() < 0.5 and _wait_for_a_write(out / "shards"):
            role += " while it wrote"
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[role] += 1
        if role.startswith("main"):
            _wait_for_the_end(victim)

    def assert_nobody_is_left(self) -> None:
        until = time.monotonic() + 60
        while left := [pid for pid in self.seen if psutil.pid_exists(pid)]:
            assert time.monotonic() < until, left
            time.sleep(0.1)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} of a {role}" for role, count in sorted(self.killed.items()))
        return f"{self.kills} kills ({kinds}), {self.starts} starts"


def _wait_for_a_write(shards: Path, patience: float = 1.0) -> bool:
    """Whether something in a folder has grown just now."""
    before, until = _sizes(shards), time.monotonic() + patience
    while time.monotonic() < until:
        if (now := _sizes(shards)) != before:
            return bool(now)
        time.sleep(_POLL_SECONDS)
    return False


def _sizes(folder: Path) -> dict[str, int]:
    try:
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    except FileNotFoundError:  # not there yet, or renamed in between
        return {}


def _wait_for_the_end(pid: int) -> None:
    until = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.005)
