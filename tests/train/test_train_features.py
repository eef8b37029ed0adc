"""What a configuration can ask for beside a model and a loss: each does what it says."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from run_configs import LOSSES, values, write
from safetensors.torch import load_file

from vidlatent import open_video
from vidlatent.config import load_config
from vidlatent.train import run
from vidlatent.train.autoencoder import AutoencoderTask
from vidlatent.train.autoencoder_config import AutoencoderConfig, LossWeights
from vidlatent.train.clips import ClipBatches, ClipDataConfig
from vidlatent.train.loop import Diverged
from vidlatent.train.losses import reconstruction, regularisers

RECIPES = Path(__file__).parents[2] / "configs" / "autoencoder"
ADVERSARIAL = {"width": 8, "depth": 1}


def log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def task(clips: Path, tmp_path: Path, **changes: Any) -> AutoencoderTask:
    changes = {"model": plain(), "stages": [stage()], **changes}
    return AutoencoderTask(AutoencoderConfig.model_validate(values(clips, tmp_path / "out", **changes)))


def plain() -> dict[str, Any]:
    model = values(Path(), Path())["model"]
    return {**model, "config": {**model["config"], "bottleneck": {"kind": "none", "channels": 8}}}


def stage(**changes: Any) -> dict[str, Any]:
    return {"name": "one", "steps": 2, "losses": {"l1": 1}, **changes}


@pytest.mark.parametrize("refresh", [True, False])
def test_a_stage_begins_with_a_fresh_discriminator_if_asked(refresh: bool, clips: Path, tmp_path: Path) -> None:
    stages = [stage(adversarial={**ADVERSARIAL, "refresh": refresh}) for _ in range(2)]
    made = task(clips, tmp_path, stages=stages)
    made.begin(0)
    before = made.opponent
    made.begin(1)
    assert (made.opponent is not before) == refresh


@pytest.mark.parametrize("loss", ["hinge", "non-saturating"])
def test_a_discriminator_learns_and_its_regularisers_are_at_work(loss: str, clips: Path, tmp_path: Path) -> None:
    adversarial = {
        **ADVERSARIAL,
        "loss": loss,
        "start": 2,
        "lecam": 0.01,
        "r1": 1e-5,
        "optimizer": {"learning_rate": 0.01},
    }
    changes = {"model": plain(), "stages": [stage(steps=14, adversarial=adversarial)], "save_every": 100}
    run(write(tmp_path / "run.yaml", values(clips, tmp_path / "out", **changes)))
    lines = [line for line in log(tmp_path / "out") if "l1" in line]
    assert all("adversarial" not in line and "discriminator" not in line for line in lines[:2])
    duel = lines[2:]
    assert len(duel) == 12
    assert duel[-1]["discriminator"] < 0.9 * duel[0]["discriminator"]
    assert duel[-1]["logits_real"] > duel[-1]["logits_fake"]
    assert all(line["r1"] > 0 and line["lecam"] > 0 for line in duel)
    assert len({line["adaptive_weight"] for line in duel}) > 6


def test_the_three_phases_of_dc_ae_train_what_they_name(clips: Path, tmp_path: Path) -> None:
    overrides = [f"data.folder={clips}", f"out={tmp_path}", "data.size=32", "stages.1.data.size=32"]
    made = AutoencoderTask(load_config(AutoencoderConfig, RECIPES / "dc-ae-f32.yaml", overrides, smoke=True))
    trained = []
    for phase in range(3):
        made.begin(phase)
        names = [name for name, weight in made.ae.named_parameters() if weight.requires_grad]
        trained.append({".".join(name.split(".")[:2]) for name in names})
    everything = {".".join(name.split(".")[:2]) for name, _ in made.ae.named_parameters()}
    assert trained == [everything, {"encoder.conv_out", "decoder.conv_in"}, {"decoder.norm_out", "decoder.conv_out"}]
    assert made.opponent is not None  # in the last phase alone


def outcome(made: AutoencoderTask, video: torch.Tensor, **weights: Any) -> Any:
    made.trainee.begin(LossWeights(**weights))
    torch.manual_seed(5)
    return made.trainee(video)


def test_equivariance_is_the_error_after_turning_and_scaling(clips: Path, tmp_path: Path) -> None:
    made, video = task(clips, tmp_path), torch.rand(1, 3, 5, 32, 32) * 2 - 1
    latents = made.ae.encode(video).mode()
    got = outcome(made, video, turn_equivariance=1).terms["turn_equivariance"]
    torch.manual_seed(5)
    quarter, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
    decoded = made.ae.decoder(regularisers.turned(latents, quarter, flip))[:, :, :5]
    assert got.item() == pytest.approx(
        reconstruction.l1(decoded, regularisers.turned(video, quarter, flip)).item(), rel=1e-5
    )

    got = outcome(made, video, scale_equivariance=1).terms["scale_equivariance"]
    torch.manual_seed(5)
    size = regularisers.random_scale(*latents.shape[3:])
    rows, columns = (length * 4 for length in size)
    decoded = made.ae.decoder(regularisers.scaled(latents, size))[:, :, :5]
    want = reconstruction.l1(decoded, regularisers.scaled(video, (rows, columns)))
    assert got.item() == pytest.approx(want.item(), rel=1e-5)


def test_masks_and_terms_of_latents_reach_the_encoder(clips: Path, tmp_path: Path) -> None:
    made, video = task(clips, tmp_path), torch.rand(1, 3, 5, 32, 32) * 2 - 1
    whole = outcome(made, video).video
    made.trainee.mask.keep, made.trainee.mask.shares = 0.0, (0.5,)
    assert (outcome(made, video, masking=True).video - whole).abs().max() > 1e-3
    term = outcome(made, video, local_correlation=1).terms["local_correlation"]
    (gradient,) = torch.autograd.grad(term, made.ae.encoder.conv_out.weight)
    assert gradient.abs().max() > 0


def test_what_is_exported_is_the_average(clips: Path, tmp_path: Path) -> None:
    average = {"profile": "power", "length": 0.2}
    changes = {"model": plain(), "stages": [stage(steps=4)], "average": average}
    run(write(tmp_path / "run.yaml", values(clips, tmp_path / "out", **changes)))
    exported = load_file(tmp_path / "out" / "model.safetensors")
    newest = tmp_path / "out" / "checkpoints" / "step-00000004"
    step, kept = torch.load(newest / "average-0", weights_only=True)["autoencoder"]
    last = load_file(newest / "model.safetensors")
    name = "encoder.conv_in.weight"
    assert step == 4
    assert torch.equal(exported[name], kept[f"ae.{name}"])
    assert not torch.equal(exported[name], last[f"ae.{name}"])


def test_trackers_and_samples_show_the_run(clips: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    changes = {"stages": [stage(losses=LOSSES)], "trackers": ["tensorboard"], "evaluate_every": 1}
    run(write(tmp_path / "run.yaml", values(clips, out, **changes)))
    events = EventAccumulator(str(out / "trackers"))
    events.Reload()
    logged = {line["step"]: line["l1"] for line in log(out) if "l1" in line}
    assert {e.step: pytest.approx(e.value) for e in events.Scalars("l1")} == logged
    assert [e.step for e in events.Scalars("eval/psnr")] == [1, 2]
    for step in (1, 2):
        assert {path.name for path in (out / "samples" / f"step-{step:08d}").iterdir()} == {"fast.mp4", "slow.mp4"}
    with open_video(out / "samples" / "step-00000001" / "fast.mp4", chunk_frames=99) as shown:
        frames = next(iter(shown)).frames
    with open_video(clips / "fast.mp4", size=(32, 32), chunk_frames=5) as source:
        original = next(iter(source)).frames
    assert frames.shape == (5, 32, 64, 3)
    assert (frames[:, :, :32].float() - original.float()).abs().mean() < 10


def test_a_loss_that_is_no_number_leaves_the_clips_and_lets_the_run_start_again(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = write(tmp_path / "run.yaml", values(clips, out, stages=[stage(losses={"l1": float("inf")})]))
    with pytest.raises(Diverged, match="step 0: the loss of autoencoder is inf"):
        run(path)
    saved = torch.load(out / "bad-batch-0-0.pt", weights_only=True)
    batches = ClipBatches(ClipDataConfig(folder=clips, frames=5, size=32, pool=4), seed=0)
    assert torch.equal(saved["video"], next(iter(batches))["video"])
    assert run(path, ["stages.0.losses.l1=1"])["psnr"] > 0  # nothing was kept of the run, so it may be begun otherwise


def test_strides_are_drawn_anew_for_every_clip(clips: Path, tmp_path: Path) -> None:
    shutil.copy(clips / "slow.mp4", tmp_path)

    def motions(stride: tuple[int, int]) -> torch.Tensor:
        config = ClipDataConfig(folder=tmp_path, frames=4, size=(24, 32), stride=stride, zoom=(1, 1))
        batches = ClipBatches(config, seed=0)
        return torch.stack([batches.batch(number)["video"].diff(dim=2).abs().mean() for number in range(8)])

    steady, drawn = motions((1, 1)), motions((1, 4))
    assert steady.max() < 1.5 * steady.min()
    assert drawn.max() > 2.5 * drawn.min()
