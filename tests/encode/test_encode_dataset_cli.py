"""`vidlatent encode-dataset`: options, a configuration file, going on, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import vidlatent_cli_runner as runner
from encode_helpers import clips_of, make_model, make_videos

import vidlatent
from vidlatent.cli.encode_dataset import line
from vidlatent.encode import Stats
from vidlatent.encode.config import validated
from vidlatent.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"), 3)


def test_a_run_its_continuation_and_a_refusal(tmp_path: Path, videos: Path) -> None:
    model, out = make_model(tmp_path / "m.safetensors"), tmp_path / "out"
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {model}\nframes: 8\nsize: 24x32\ndecoders: 1\n")
    done = runner.run("encode-dataset", videos, "-o", out, "--config", config, "--tail", "keep", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["clips"], record["rows"], record["failures"]) == (6, 3, 0)
    assert record["frames_per_second"] > 0
    assert {tuple(latents.shape[-2:]) for latents in clips_of(out).values()} == {(3, 4)}
    again = runner.run("encode-dataset", "-o", out, "--resume", "--json")
    assert json.loads(again.stdout)["skipped"] == 3
    refused = runner.run("encode-dataset", videos, "-o", out, "--config", config, "--tail", "drop")
    assert refused.exit_code == 1
    assert 'recipe.clips.tail: "keep" -> "drop"' in refused.stderr
    assert vidlatent.open_latents(out) is not None
    assert "nothing to encode: 3 videos already there" in runner.run("encode-dataset", "-o", out, "--resume").stdout
    described = runner.run("info", out).stdout
    assert "32x24, 8 frames, tail keep, precision float32" in described
    assert str(videos) in described


def test_what_is_missing_or_unknown_is_said(tmp_path: Path, videos: Path) -> None:
    missing = runner.run("encode-dataset", videos, "-o", tmp_path / "out")
    assert (missing.exit_code, "model: give SOURCE" in missing.stderr) == (1, True)
    with pytest.raises(InputError, match="colour: Extra inputs"):
        validated({"source": "a", "out": "b", "model": "c", "colour": 1}, "options")
    assert runner.run("encode-dataset", "--help").exit_code == 0


@pytest.mark.parametrize("path", sorted((ROOT / "configs/encode").glob("*.yaml")), ids=lambda path: path.name)
def test_configurations_that_come_with_the_package_are_whole(path: Path) -> None:
    from vidlatent.config import read_values

    assert validated({**read_values(path), "source": "x", "out": "y"}, path.name).model


def test_progress_says_pace_failures_queue_and_what_is_left() -> None:
    stats = Stats(clips=20, frames=340, seconds=36, rows=10, failures=1, skipped=5, total=35, fill=0.25, elapsed=10)
    head, rest = "15/35 videos, 20 clips (2.00/s), 34.0 frames/s, 3.60 h/h, 1 failed", "0:00:20 left"
    assert line(replace(stats, ran=10, waited=1)) == f"{head}, queue 25%, model busy 90%, {rest}"
    assert line(replace(stats, fill=None)) == f"{head}, model busy 0%, {rest}"  # on Ray nobody tells the queue


def test_counts_of_several_workers_add_up() -> None:
    one, other = Stats(clips=2, rows=1, ran=10, waited=8, fill=0.5), Stats(clips=3, failures=1, ran=10)
    together = one + other
    assert (together.clips, together.rows, together.failures, together.fill) == (5, 1, 1, 0.5)
    assert together.busy == pytest.approx(0.6)
    assert Stats().busy == 0
