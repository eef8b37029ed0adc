"""`vidlatent generate`: clips of a given length from a model's file, alone or behind another clip."""

import json
from pathlib import Path

import pytest
import torch

import vidlatent as vl
from vidlatent.diffusion import VideoDiT, VideoDiTConfig, load_model, save_model
from vidlatent.diffusion.packaged import packaged_models
from vidlatent.diffusion.provenance import Provenance


@pytest.fixture(scope="module")
def world(model, tmp_path_factory):
    """A narrow causal model with random weights, on the latents of the narrow autoencoder."""
    ae = vl.load(str(model))
    torch.manual_seed(0)
    dit = VideoDiT(VideoDiTConfig(channels=16, dim=32, depth=1, heads=2, patch=1, causal=True, window=3))
    with torch.no_grad():
        dit.head.to_out.weight.normal_(std=0.2)
    made = Provenance(
        autoencoder=str(model),
        fingerprint=ae.fingerprint,
        mean=(0.0,) * 16,
        std=(1.0,) * 16,
        size=(32, 48),
        fps=12.5,
        frames=4,
    )
    path = tmp_path_factory.mktemp("world") / "world.safetensors"
    return save_model(dit, path, metadata=made.model_dump())


def frames(path: Path) -> torch.Tensor:
    with vl.open_video(path) as video:
        return torch.cat([clip.frames for clip in video])


def test_a_clip_has_the_frames_asked_for_and_a_seed_gives_it_again(here, world, tmp_path):
    result = here("generate", world, "-o", tmp_path / "a.mp4", "--frames", 18, "--steps", 2, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["frames"], record["height"], record["width"], record["fps"]) == (18, 32, 48, 12.5)
    first = frames(tmp_path / "a.mp4")
    assert first.shape == (18, 32, 48, 3)
    for name, seed in (("b.mp4", 0), ("c.mp4", 1)):
        assert (
            here("generate", world, "-o", tmp_path / name, "--frames", 18, "--steps", 2, "--seed", seed).exit_code == 0
        )
    torch.testing.assert_close(frames(tmp_path / "b.mp4"), first)
    assert (frames(tmp_path / "c.mp4").float() - first.float()).abs().mean() > 1


@pytest.mark.parametrize("schedule", ["pyramid", "fifo", "full"])
def test_every_schedule_gives_a_clip(here, world, tmp_path, schedule):
    out = tmp_path / "clip.mp4"
    result = here("generate", world, "-o", out, "--seconds", 1, "--steps", 4, "--schedule", schedule)
    assert result.exit_code == 0, result.output
    assert len(frames(out)) == 13  # 12.5 frames a second


@pytest.mark.parametrize(("length", "memory"), [(1, None), (7, "64MiB")])
def test_a_clip_goes_on_from_another(here, world, clip, tmp_path, length, memory):
    out = tmp_path / "next.mp4"
    options = ["--memory", memory] if memory else []
    result = here("generate", world, "-o", out, "--frames", length, "--steps", 2, "--from", clip, *options)
    assert result.exit_code == 0, result.output
    assert frames(out).shape == (length, 32, 48, 3)
    alone = tmp_path / "alone.mp4"
    assert here("generate", world, "-o", alone, "--frames", length, "--steps", 2).exit_code == 0
    assert (frames(out).float() - frames(alone).float()).abs().mean() > 1


def test_wrong_arguments_say_what_to_do_and_leave_nothing(here, world, model, clip, tmp_path):
    out = tmp_path / "clip.mp4"
    assert here("generate", world, "-o", out, "--frames", 3, "--seconds", 3).exit_code == 2
    for arguments, message in (
        (("nowhere", "-o", out), "packaged are"),
        ((clip, "-o", out), "safetensors"),
        ((world, "-o", out, "--autoencoder", "vidlatent-tiny"), "fingerprint"),
        ((world, "-o", clip, "--from", clip), "is what is read"),
        ((world, "-o", tmp_path / "no" / "clip.mp4"), "does not exist"),
    ):
        result = here("generate", *arguments)
        assert result.exit_code == 1, result.output
        assert message in result.output
    assert not out.exists()


def test_a_model_that_does_not_know_its_latents_is_refused(here, world, tmp_path):
    save_model(load_model(world), tmp_path / "mute.safetensors", metadata={})
    result = here("generate", tmp_path / "mute.safetensors", "-o", tmp_path / "clip.mp4")
    assert result.exit_code == 1
    assert "does not record whose latents" in result.output


def test_a_distilled_model_keeps_to_its_steps(here, world, tmp_path):
    few = tmp_path / "few.safetensors"
    dit = load_model(world)
    save_model(dit, few, metadata=dit.metadata | {"steps": 2, "levels": [0.0, 0.5, 1.0]})
    assert here("generate", few, "-o", tmp_path / "clip.mp4", "--frames", 5).exit_code == 0
    result = here("generate", few, "-o", tmp_path / "other.mp4", "--frames", 5, "--steps", 3)
    assert result.exit_code == 1
    assert "distilled to 2 steps" in result.output


def test_the_packaged_model_works_without_a_name(here, tmp_path):
    assert "bounce" in packaged_models()
    result = here("generate", "-o", tmp_path / "clip.mp4", "--frames", 9, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert len(frames(tmp_path / "clip.mp4")) == 9
