"""Whatever is killed at whatever moment, the dataset comes out as if nothing had been.

pytest -m slow -s tests/encode/test_encode_killed.py
"""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from encode_helpers import assert_same, clips_of, encode, make_model, make_videos
from killing import WRITERS, Killing

from vidlatent.latents.dataset import verify

SHARD_BYTES = 20_000  # a few clips: shards are finished all the time


def check(out: Path, whole: Path) -> None:
    assert_same(clips_of(out), clips_of(whole))
    assert verify(out).ok
    assert not (out / "failures.jsonl").exists()
    assert len(list((out / "progress").glob("*.jsonl"))) >= 1
    assert not [name for name in os.listdir(out / "shards") if name.endswith(".part")]


def kill(folder: Path, kills: int, videos: int, options: dict[str, Any]) -> Killing:
    """Encode datasets, killing, until there were so many kills; each of them is as the one that was left alone."""
    source, model = make_videos(folder / "videos", videos), make_model(folder / "m.safetensors")
    encode(source, folder / "whole", model)
    killing = Killing(source, model, {"shard_bytes": SHARD_BYTES, **options}, seed=11)
    datasets, started = 0, time.monotonic()
    while killing.kills < kills:
        datasets += 1
        killing.until_finished(folder / f"out{datasets}", most=kills)
        check(folder / f"out{datasets}", folder / "whole")
        print(f"{killing}, {datasets} datasets as the uninterrupted one, {time.monotonic() - started:.0f} s")
    killing.assert_nobody_is_left()
    return killing


def test_a_few_kills(tmp_path: Path) -> None:
    kill(tmp_path, 3, 12, {"decoders": 2})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("options", [{"decoders": 2}, {"workers": 2, "decoders": 1}], ids=["one worker", "two workers"])
def test_two_hundred_kills(tmp_path: Path, options: dict[str, Any]) -> None:
    killing = kill(tmp_path, 200, 96, options)
    assert sum(count for role, count in killing.killed.items() if role.split()[0] in WRITERS) >= 50
