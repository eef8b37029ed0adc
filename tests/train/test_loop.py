"""The loop: stages, several optimizers, accumulation, resume at any step, divergence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_task import STAGES, Line, settings

from vidlatent.errors import InputError
from vidlatent.train.loop import Diverged, train


def result(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(Line(), settings(out), STAGES)
    return out


def test_training_goes_through_all_stages_and_learns(whole: Path) -> None:
    losses = [line["line/loss"] for line in log(whole) if "line/loss" in line]
    assert len(losses) == 12
    assert losses[-1] < 0.5 * losses[0]
    assert [p.name for p in sorted((whole / "checkpoints").iterdir())] == ["step-00000009", "step-00000012"]


@pytest.mark.parametrize("step", [3, 6, 7, 9])
def test_a_run_resumed_from_any_checkpoint_equals_the_uninterrupted_one(whole: Path, tmp_path: Path, step: int) -> None:
    train(Line(), settings(tmp_path, keep=100), STAGES)
    for folder in (tmp_path / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    (tmp_path / "model.safetensors").unlink()
    task = Line()
    metrics = train(task, settings(tmp_path), STAGES)
    assert task.begun[0] == (0 if step <= 7 else 1)
    assert log(tmp_path) == log(whole)
    assert metrics["weight"] == log(whole)[-1]["eval/weight"]
    assert all(torch.equal(result(tmp_path)[k], v) for k, v in result(whole).items())


def test_a_finished_run_started_again_changes_nothing(whole: Path) -> None:
    before = log(whole)
    assert train(Line(), settings(whole), STAGES)["weight"] == before[-1]["eval/weight"]
    assert log(whole) == before


def test_a_run_is_not_resumed_with_other_settings(whole: Path) -> None:
    train(Line(), settings(whole, log_every=5), STAGES)
    with pytest.raises(InputError, match="seed was 0, is 1"):
        train(Line(), settings(whole, seed=1), STAGES)


def test_a_run_is_not_resumed_by_another_number_of_processes(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "two")
    for folder in (tmp_path / "two" / "checkpoints").iterdir():
        (folder / "data-1.json").write_text("{}")
    with pytest.raises(InputError, match="made by 2 processes, now 1"):
        train(Line(), settings(tmp_path / "two"), STAGES)


def test_a_damaged_checkpoint_is_named(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "torn")
    (tmp_path / "torn" / "checkpoints" / "step-00000012" / "state.json").write_text("{")
    with pytest.raises(InputError, match="step-00000012: a damaged checkpoint"):
        train(Line(), settings(tmp_path / "torn"), STAGES)


def test_two_accumulated_batches_are_one_batch_of_both(tmp_path: Path) -> None:
    """Gradients of the parts do not mix, whichever batch they come from."""
    train(Line(), settings(tmp_path, accumulate=2), STAGES[:1])
    assert len([line for line in log(tmp_path) if "line/loss" in line]) == 7


def test_a_loss_that_is_no_number_stops_with_the_batch_saved(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="step 4: the loss of line is nan"):
        train(Line(bad_step=4), settings(tmp_path), STAGES)
    saved = torch.load(tmp_path / "bad-batch-4-0.pt", weights_only=True)
    assert saved["x"].shape == (64, 3)
    assert (tmp_path / "checkpoints" / "step-00000003").is_dir()
