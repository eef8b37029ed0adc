"""Runs as processes: killed at any moment and started again; several processes; the command itself."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from run_configs import LOSSES, values, write
from safetensors.torch import load_file
from typer.testing import CliRunner

from vidlatent.cli.app import app
from vidlatent.train import run

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def command(config: Path) -> list[str]:
    return [sys.executable, "-m", "vidlatent", "train", str(config)]


def curve(out: Path) -> list[dict]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_and_kill(arguments: list[str], out: Path, steps: int, seconds: float) -> None:
    """Let a run take `steps` more steps than it had, then some time, and kill it."""
    had = max([line["step"] for line in curve(out)], default=0)
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if max([line["step"] for line in _whole_lines(out)], default=0) >= had + steps:
            time.sleep(seconds)
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _whole_lines(out: Path) -> list[dict]:
    path = out / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def assert_killed_equals_whole(clips: Path, tmp_path: Path, kills: int, steps: int) -> None:
    stages = [{"name": "one", "steps": steps, "losses": {"l1": 1, "kl": 1e-6}}]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for out in (whole, killed):
        write(tmp_path / f"{out.name}.yaml", values(clips, out, stages=stages, save_every=3))
    rng = random.Random(0)
    for _ in range(kills):
        run_and_kill(command(tmp_path / "killed.yaml"), killed, rng.randint(1, steps // 2), rng.random() * 0.3)
    for name in ("whole", "killed"):
        assert run(tmp_path / f"{name}.yaml")["psnr"] > 0
    want, got = (load_file(out / "model.safetensors") for out in (whole, killed))
    assert want.keys() == got.keys()
    assert all(torch.equal(want[name], got[name]) for name in want)
    assert curve(killed) == curve(whole)


def test_a_killed_run_goes_on_to_the_same_end(clips: Path, tmp_path: Path) -> None:
    assert_killed_equals_whole(clips, tmp_path, kills=1, steps=20)


@pytest.mark.slow
def test_a_run_killed_many_times_goes_on_to_the_same_end(clips: Path, tmp_path: Path) -> None:
    assert_killed_equals_whole(clips, tmp_path, kills=8, steps=60)


def two_processes(*command: str, **environment: str) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *command]
    subprocess.run(launch, env=ENVIRONMENT | {"ACCELERATE_USE_CPU": "true"} | environment, check=True, timeout=500)


@pytest.mark.slow
def test_two_processes_train_the_same_model_on_different_clips(clips: Path, tmp_path: Path) -> None:
    adversarial = {"width": 8, "depth": 1, "lecam": 0.01, "r1": 0.1, "adaptive": True}
    stages = [
        {"name": "one", "steps": 3, "losses": {"l1": 1, "kl": 1e-6}, "adversarial": adversarial},
        {"name": "two", "steps": 3, "losses": {"l1": 1}, "trained": ["decoder"], "adversarial": adversarial},
    ]
    config = write(tmp_path / "run.yaml", values(clips, tmp_path / "out", stages=stages, accumulate=2))
    two_processes("-m", "vidlatent", "train", str(config))
    state = tmp_path / "out" / "checkpoints" / "step-00000006"
    assert (state / "data-1.json").exists()
    averages = [torch.load(state / f"average-{rank}", weights_only=True)["autoencoder"][1] for rank in (0, 1)]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    assert [line["step"] for line in curve(tmp_path / "out") if "l1" in line] == [1, 2, 3, 4, 5, 6]


# What `accelerate launch` would say of DeepSpeed; the run's own file knows better how much to accumulate and to clip.
DEEPSPEED = {
    "ACCELERATE_USE_CPU": "false",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "7",
    "ACCELERATE_GRADIENT_CLIPPING": "1e-3",
    "DS_ACCELERATOR": "cpu",
}


@pytest.mark.slow
@pytest.mark.parametrize("sharded", ["DDP", "FSDP2", "DeepSpeed"])
def test_two_processes_are_one_with_twice_the_batches(sharded: str, clips: Path, tmp_path: Path) -> None:
    """Resumed once on the way, and with the noise of a variational bottleneck."""
    if sharded == "DeepSpeed" and not find_spec("deepspeed"):
        pytest.skip("deepspeed is not installed")  # in CI neither: it builds itself for minutes
    environment = {"SHARDED": sharded} | (DEEPSPEED if sharded == "DeepSpeed" else {})
    stages = [
        {"name": "one", "steps": 3, "losses": LOSSES},
        {"name": "two", "steps": 3, "losses": LOSSES, "trained": ["decoder"]},
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    run(write(tmp_path / "one.yaml", values(clips, one, stages=stages, accumulate=4)))
    config = write(tmp_path / "two.yaml", values(clips, two, stages=stages, accumulate=2))
    command = str(Path(__file__).with_name("sharded_run.py")), str(config)
    two_processes(*command, **environment)
    shutil.rmtree(two / "checkpoints" / "step-00000006")
    (two / "model.safetensors").unlink()
    two_processes(*command, **environment)
    assert any(two.rglob("zero_pp_rank_1_*")) == (sharded == "DeepSpeed")
    want, got = (load_file(out / "model.safetensors") for out in (one, two))
    for name, weight in want.items():
        torch.testing.assert_close(got[name], weight, rtol=1e-4, atol=1e-5)


def test_the_command_says_what_is_wrong_in_one_line(clips: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", values(clips, tmp_path / "out"))
    done = CliRunner().invoke(app, ["train", str(config), "data.frames=6"])
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines() == ["error: data.frames=6: this model takes 1 + 4k frames: take 5 or 9"]


def test_the_command_tells_progress_and_the_outcome_as_json(clips: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", values(clips, tmp_path / "out"))
    done = CliRunner().invoke(app, ["train", str(config), "stages.0.steps=2", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["psnr"] > 0
    assert done.stderr.splitlines()[-1].startswith("one 2/2, ")
