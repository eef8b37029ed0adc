"""Whatever is killed at whatever moment, the dataset comes out as if nothing had been."""

import os
import random
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from encode_helpers import KINDS, assert_same, clips_of, encode, make_model, make_videos

from vidlatent.encode import encode_dataset
from vidlatent.encode.pipeline.decoder import process_context
from vidlatent.latents.dataset import verify


def _run(source: str, out: str, model: str, options: dict[str, Any]) -> None:
    encode_dataset(source, out, model=model, **{**KINDS, **options})


@dataclass
class Killing:
    """Runs a job to its end, killing its processes at random moments: main, workers, decoders, what starts them."""

    source: Path
    model: Path
    options: dict[str, Any]
    seed: int
    mains: int = 0
    others: int = 0
    starts: int = 0
    seen: set[int] = field(default_factory=set)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    @property
    def kills(self) -> int:
        return self.mains + self.others

    def until_finished(self, out: Path, *, most: int, longest_pause: float) -> None:
        while True:
            main = process_context().Process(  # type: ignore[attr-defined]
                target=_run, args=(str(self.source), str(out), str(self.model), self.options)
            )
            main.start()
            self.starts += 1
            patient = self.chance.random() < 0.8  # else it may be killed before it has begun
            while main.is_alive() and self.kills < most:
                time.sleep(self.chance.uniform(0.02, longest_pause))
                family = self._family(main)
                if not patient or len(family) > 2:  # the server of processes, the tracker of resources, decoders
                    self._kill(main, family)
            main.join(300)
            assert main.exitcode in (0, -signal.SIGKILL)
            if main.exitcode == 0:
                return

    def _family(self, main: BaseProcess) -> list[int]:
        try:
            family = [child.pid for child in psutil.Process(main.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self.seen.update(family)
        return family

    def _kill(self, main: BaseProcess, family: list[int]) -> None:
        # The main process less often than its share: that costs a new start.
        victim = main.pid if not family or self.chance.random() < 0.25 else self.chance.choice(family)
        assert victim is not None
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        if victim == main.pid:
            self.mains += 1
            main.join()
        else:
            self.others += 1

    def assert_nobody_is_left(self) -> None:
        until = time.monotonic() + 60
        while left := [pid for pid in self.seen if psutil.pid_exists(pid)]:
            assert time.monotonic() < until, left
            time.sleep(0.1)


def check(out: Path, whole: Path, videos: int) -> None:
    assert_same(clips_of(out), clips_of(whole))
    assert verify(out).ok
    assert not (out / "failures.jsonl").exists()
    assert len(list((out / "progress").glob("*.jsonl"))) >= 1
    assert not [name for name in os.listdir(out / "shards") if name.endswith(".part")]
    assert videos


def test_a_few_kills(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", 18)
    model = make_model(tmp_path / "m.safetensors")
    encode(videos, tmp_path / "whole", model)
    killing = Killing(videos, model, {"decoders": 2}, seed=3)
    killing.until_finished(tmp_path / "out", most=6, longest_pause=0.4)
    assert killing.kills >= 3
    killing.assert_nobody_is_left()
    check(tmp_path / "out", tmp_path / "whole", 18)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"decoders": 2}, {"workers": 2, "decoders": 1}], ids=["one worker", "two workers"])
def test_two_hundred_kills(tmp_path: Path, options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    videos = make_videos(tmp_path / "videos", 96)
    model = make_model(tmp_path / "m.safetensors")
    encode(videos, tmp_path / "whole", model)
    killing = Killing(videos, model, options, seed=11)
    runs = 0
    while killing.kills < 200:
        runs += 1
        killing.until_finished(tmp_path / f"out{runs}", most=200, longest_pause=0.2)
        check(tmp_path / f"out{runs}", tmp_path / "whole", 96)
        with capsys.disabled():
            print(
                f"\n{killing.kills} kills ({killing.mains} of main, {killing.others} of other processes), "
                f"{killing.starts} starts, {runs} datasets: each as the uninterrupted one"
            )
    killing.assert_nobody_is_left()
