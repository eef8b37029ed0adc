"""Training autoencoders end to end: every kind of run in miniature, resume, and wrong configurations."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from run_configs import LOSSES, MODEL, values, write

import vidlatent
from vidlatent.errors import VidlatentError
from vidlatent.train import run
from vidlatent.train.autoencoder_config import ModelConfig
from vidlatent.train.autoencoder_models import make_model

NARROW_TINY = {
    "preset": "vidlatent-tiny",
    "config": {
        "encoder_widths": [8, 8],
        "decoder_widths": [8, 8],
        "encoder_blocks": [0, 1],
        "decoder_blocks": [0, 1],
    },
}
ADVERSARIAL = {"width": 8, "depth": 1, "start": 1, "lecam": 0.01, "r1": 0.1}


def bottleneck(**changes: Any) -> dict[str, Any]:
    return {**MODEL, "config": {**MODEL["config"], "bottleneck": changes}}


def log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def trained(clips: Path, tmp_path: Path):
    """Train a run with changes; gives its metrics and its folder."""

    def train(**changes: Any) -> tuple[dict[str, float], Path]:
        path = write(tmp_path / "run.yaml", values(clips, tmp_path / "out", **changes))
        return run(path), tmp_path / "out"

    return train


KINDS = {
    "none": {"kind": "none", "channels": 6},
    "kl": {"kind": "kl", "channels": 6, "free_nats": 0.1},
    "vq": {"kind": "vq", "channels": 6, "size": 16},
    "vq-gradient": {"kind": "vq", "channels": 6, "size": 16, "decay": 0},
    "hierarchical-vq": {"kind": "hierarchical-vq", "channels": 3, "size": 16},
    "residual-vq": {"kind": "residual-vq", "channels": 4, "size": 16},
    "fsq": {"kind": "fsq", "channels": 3, "levels": [8, 5, 3]},
    "lfq": {"kind": "lfq", "channels": 10},
    "bsq": {"kind": "bsq", "channels": 10},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_bottleneck_trains_and_what_comes_out_loads(kind: str, trained: Any, clips: Path, tmp_path: Path) -> None:
    losses = {"l1": 1, "commitment": 0.25, "codebook": 1, "entropy": 0.01, "kl": 1e-6 if kind == "kl" else 0}
    metrics, out = trained(
        model=bottleneck(**KINDS[kind]),
        stages=[{"name": "one", "steps": 15, "losses": losses}],
        data={"folder": str(clips), "frames": 5, "size": 32, "batch": 2, "pool": 2},
        log_every=5,
        save_every=12,
    )
    found = [line["l1"] for line in log(out) if "l1" in line]
    assert found[-1] < 0.9 * found[0]
    ae = vidlatent.load(out / "model.safetensors")
    posterior = ae.encode(torch.rand(1, 3, 5, 32, 32) * 2 - 1)
    video = ae.decode(posterior.mode())
    assert video.shape == (1, 3, 5, 32, 32)
    if kind in ("none", "kl"):
        assert len(ae.latent_spec.mean) == ae.latent_spec.channels
    else:
        assert 0 < metrics["codebook_0_share"] <= 1
        codes = ae.codes(posterior.mode())
        assert torch.equal(ae.decode(ae.from_codes(codes)), video)
    # resumed from its twelfth step, codebooks and all, it is the same model again
    shutil.rmtree(out / "checkpoints" / "step-00000015")
    (out / "model.safetensors").unlink()
    assert run(tmp_path / "run.yaml") == metrics
    assert vidlatent.load(out / "model.safetensors").fingerprint == ae.fingerprint


def test_a_run_resumed_after_any_checkpoint_equals_the_uninterrupted_one(
    trained: Any, clips: Path, tmp_path: Path
) -> None:
    stages = [
        {"name": "one", "steps": 3, "losses": LOSSES | {"learned_variance": True}},
        {"name": "two", "steps": 3, "losses": LOSSES, "trained": ["decoder"], "adversarial": ADVERSARIAL},
    ]
    changes = {"stages": stages, "model": bottleneck(kind="kl", channels=4), "save_every": 2, "keep": 10}
    _, out = trained(**changes)
    whole, curve = vidlatent.load(out / "model.safetensors"), log(out)
    for step in (2, 3, 4):
        again = tmp_path / f"again{step}"
        shutil.copytree(out, again)
        for folder in (again / "checkpoints").iterdir():
            if int(folder.name[5:]) > step:
                shutil.rmtree(folder)
        run(write(tmp_path / "again.yaml", values(clips, again, **changes)))
        assert vidlatent.load(again / "model.safetensors").fingerprint == whole.fingerprint
        assert log(again) == curve


def test_only_what_a_stage_trains_changes(trained: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = make_model(ModelConfig.model_validate(NARROW_TINY))
    vidlatent.autoencoders.save_checkpoint(before, tmp_path / "start.safetensors")
    _, out = trained(
        model={"load": str(tmp_path / "start.safetensors")},
        stages=[{"name": "decoder", "steps": 2, "losses": {"l1": 1}, "trained": ["decoder"]}],
        average=None,
    )
    after = vidlatent.load(out / "model.safetensors")
    same = {name: torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items()}
    assert all(equal for name, equal in same.items() if name.startswith("encoder"))
    assert not all(equal for name, equal in same.items() if name.startswith("decoder"))


def test_a_student_moves_into_its_teachers_latents(trained: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = make_model(
        ModelConfig.model_validate({**NARROW_TINY, "config": {**NARROW_TINY["config"], "latent_channels": 4}})
    )
    vidlatent.autoencoders.save_checkpoint(teacher, tmp_path / "teacher.safetensors")
    student = {**MODEL["config"], "patch_factors": [2, 4, 4], "bottleneck": {"kind": "none", "channels": 4}}
    _, out = trained(
        model={"family": "configurable", "config": student},
        teacher={"load": str(tmp_path / "teacher.safetensors")},
        stages=[{"name": "one", "steps": 30, "losses": {"l1": 0, "teacher_latents": 1, "teacher_decoding": 1}}],
        log_every=5,
        save_every=100,
    )
    terms = [line for line in log(out) if "teacher_latents" in line]
    assert terms[-1]["teacher_latents"] < 0.7 * terms[0]["teacher_latents"]
    assert terms[-1]["teacher_decoding"] < terms[0]["teacher_decoding"]


def test_every_regulariser_is_finite_and_logged(trained: Any) -> None:
    weights = {"scale_equivariance": 0.1, "turn_equivariance": 0.1, "masking": True, "local_correlation": 0.02}
    weights |= {"alignment": 0.1, "wavelet": 0.1, "temporal": 0.1, "charbonnier": 1, "perceptual": 0.1}
    _, out = trained(
        stages=[
            {
                "name": "one",
                "steps": 2,
                "losses": LOSSES | weights,
                "data": {"images": 0.5},
                "adversarial": ADVERSARIAL | {"start": 0, "dims": "3d"},
            }
        ],
        alignment={"factory": "run_configs:downsampled", "width": 3},
        recompute=True,
        precision="bf16",
        accumulate=2,
    )
    last = log(out)[1]
    for name in ("scale_equivariance", "turn_equivariance", "local_correlation", "alignment", "wavelet", "laplacian"):
        assert last[name] >= 0, name


WRONG = {
    "unknown key": ({"data.sise": 3}, "sise"),
    "unknown model key": ({"model.config.widht": 3}, "widht"),
    "channels that do not divide": ({"model.config.norm": "group-frame", "model.config.groups": 3}, "does not divide"),
    "unknown key of the bottleneck": ({"model.config.bottleneck.chanels": 3}, "bottleneck.chanels"),
    "unknown key of a stage's data": (
        {"stages.0.data.sise": 3},
        "stages.0.data: sise: there is no such key; known are folder, frames",
    ),
    "unknown key deep inside": (
        {"stages.0.adversarial": {"optimizer": {"lr": 1}}},
        "stages.0.adversarial.optimizer.lr: there is no such key; known are name, learning_rate",
    ),
    "negative steps": ({"stages.0.steps": -3}, "stages.0.steps: input should be greater than 0, got -3"),
    "frames that no clip has": ({"data.frames": 401}, "no video in .* is that long: take 24 or fewer"),
    "evaluation of a missing folder": ({"evaluation.folder": "nowhere"}, "evaluation.folder=nowhere: no such folder"),
    "evaluation of clips that are too short": ({"evaluation.frames": 99}, "evaluation.frames=99: .* take 24 or fewer"),
    "a discriminator that is too deep": (
        {"stages.0.adversarial": {"dims": "3d", "depth": 6}},
        "adversarial.depth=6: too deep for 5 x 32 pixels",
    ),
    "missing perceptual weights": ({"perceptual_weights": "nowhere.pth"}, "nowhere.pth: no such file"),
    "missing folder": ({"data.folder": "nowhere"}, "nowhere: no such folder"),
    "frames against the frame rule": ({"data.frames": 6}, "takes 1 \\+ 4k frames: take 5 or 9"),
    "size against the stride": ({"data.size": 33}, "multiple of the model's stride"),
    "unknown part": ({"stages.0.trained": ["head"]}, "no parameter begins so"),
    "kl without variance": ({"model.config.bottleneck.kind": "none"}, "needs a 'kl' bottleneck"),
    "no teacher": ({"stages.0.losses.teacher_latents": 1}, "no 'teacher'"),
    "teacher of another grid": (
        {"teacher": {"preset": "wan-2.1", "config": {"base_dim": 8}}},
        "the teacher's latents have channels 16",
    ),
    "no stages": ({"stages": []}, "stages"),
    "unknown kind": ({"kind": "autencoder"}, "allowed are autoencoder, diffusion"),
    "no smoke section": ({}, "has no section 'smoke'"),
    "bad override": ({"stages.7.steps": 1}, "override stages.7.steps: expected a number below 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_configurations_end_before_the_first_step(name: str, clips: Path, tmp_path: Path) -> None:
    changes, message = WRONG[name]
    path = write(tmp_path / "run.yaml", values(clips, tmp_path / "out"))
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    with pytest.raises(VidlatentError, match=message):
        run(path, overrides, smoke=name == "no smoke section")
    assert not (tmp_path / "out").exists()
