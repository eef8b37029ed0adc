"""Diffusion models are trained from a configuration file, on worlds and on latent datasets, and runs go on exactly."""

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import yaml

import vidlatent as vl
from vidlatent.config import load_config
from vidlatent.diffusion.checkpoint import load_model
from vidlatent.diffusion.provenance import Provenance
from vidlatent.errors import InputError, ModelError
from vidlatent.latents import ClipMeta, ClipSource, DatasetSettings, DatasetWriter, content_key
from vidlatent.train import run
from vidlatent.train.diffusion import make_task
from vidlatent.train.diffusion_config import DiffusionConfig
from vidlatent.train.diffusion_stored import StoredLatents

CONFIGS = Path(__file__).parents[2] / "configs" / "diffusion"
MODEL = {"channels": 16, "dim": 32, "depth": 2, "heads": 2, "patch": 1, "causal": True, "window": 2}
WORLD = {"source": "world", "options": {"size": 16}, "clips": 6, "validation_clips": 2, "num_latents": 5, "skip": 1}


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """The encoded world, which all runs share."""
    return tmp_path_factory.mktemp("latents") / "world.safetensors"


@pytest.fixture
def write(tmp_path, latents):
    def written(**changes):
        values = {
            "kind": "diffusion",
            "out": str(tmp_path / "run"),
            "data": WORLD | {"cache": str(latents)},
            "model": MODEL,
            "method": {
                "name": "flow",
                "modes": {"forcing": 1, "teacher": 1, "full": 1},
                "context_noise": 0.2,
                "clean": 0.1,
            },
            "frames": 4,
            "batch": 2,
            "trackers": [],
            "log_every": 1,
            "stages": [{"name": "train", "steps": 6}],
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return path

    return written


def test_a_run_leaves_a_model_that_knows_its_latents(write, tmp_path):
    metrics = run(write(sample_frames=2))
    assert set(metrics) == {"loss", "loss_forcing", "loss_teacher", "loss_full"}
    dit = load_model(tmp_path / "run" / "model.safetensors")
    made, ae = Provenance.of(dit), vl.load("vidlatent-tiny")
    made.check(ae.fingerprint, name="vidlatent-tiny")
    assert made.size == (16, 16)
    assert made.frames == 4
    z = torch.randn(1, 16, 3, 2, 2)
    torch.testing.assert_close(made.denormalize(made.normalize(z)), z, rtol=1e-4, atol=1e-5)
    [sample] = (tmp_path / "run" / "samples").rglob("*.mp4")
    with vl.open_video(sample) as video:
        assert sum(len(clip.frames) for clip in video) == 5
    with pytest.raises(ModelError, match="trained on latents of vidlatent-tiny"):
        made.check("other", name="another autoencoder")


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(write, tmp_path):
    run(write(), ["stages.0.steps=6", f"out={tmp_path / 'whole'}", "save_every=3"])
    config = write()
    with pytest.raises(KeyboardInterrupt):
        run(config, [f"out={tmp_path / 'half'}", "save_every=3"], show=_stop_after(4))
    run(config, [f"out={tmp_path / 'half'}", "save_every=3"])
    whole, half = (load_model(tmp_path / name / "model.safetensors").state_dict() for name in ("whole", "half"))
    for name, weight in whole.items():
        torch.testing.assert_close(half[name], weight, rtol=0, atol=0)


def _stop_after(step):
    def show(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return show


def test_the_world_is_encoded_once_for_all_runs(write, latents):
    task = make_task(load_config(DiffusionConfig, write()))
    written = latents.stat().st_mtime_ns
    z = task.latents.normal({"z": task.latents.source.train.latents})
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.std()) - 1) < 0.05
    assert latents.stat().st_mtime_ns == written
    first, again = (next(iter(task.data(0, rank=0, world=1)))["z"] for _ in range(2))
    torch.testing.assert_close(first, again)
    assert (first - next(iter(task.data(0, rank=1, world=2)))["z"]).abs().max() > 0


def test_actions_of_a_world_condition_the_model(write, tmp_path):
    data = {"source": "world", "world": "maze", "options": {"size": 16}, "clips": 2, "validation_clips": 1}
    config = write(data=data | {"num_latents": 3, "skip": 1}, model=MODEL | {"action_dim": 4}, frames=3)
    task = make_task(load_config(DiffusionConfig, config, [f"out={tmp_path / 'maze'}"]))
    batch = next(iter(task.data(0, rank=0, world=1)))
    assert batch["actions"].shape == (2, 3, 4)
    torch.testing.assert_close(batch["actions"].sum(-1), torch.ones(2, 3))
    loss = next(task.step({"dit": task.dit}, batch, 0))
    assert loss.value.isfinite()


@pytest.fixture
def dataset(tmp_path):
    """Clips of random latents that stand for an encoded dataset."""
    ae = vl.load("vidlatent-tiny")
    settings = DatasetSettings(ae.fingerprint, "vidlatent-tiny", asdict(ae.latent_spec), dtype="float32")
    generator = torch.Generator().manual_seed(0)
    with DatasetWriter(tmp_path / "dataset", settings, worker="w0") as writer:
        for index in range(5):
            latents = 2 + 3 * torch.randn(6, 16, 2, 2, generator=generator)
            pts = [Fraction(frame, 24) for frame in range(21)]
            source = ClipSource(uri=f"{index}.mp4", sha256="f" * 64, start_seconds=None, size=(16, 16))
            meta = ClipMeta(num_frames=21, size=(16, 16), fps=Fraction(24), pts_seconds=pts, source=source)
            writer.add(content_key("f" * 64, Fraction(index), None), latents, meta)
    return tmp_path / "dataset"


def test_a_latent_dataset_is_trained_on_epoch_after_epoch(write, dataset, tmp_path):
    data = {"source": "latents", "path": str(dataset), "validation": str(dataset)}
    metrics = run(write(data=data))
    assert metrics["loss"] > 0
    made = Provenance.of(load_model(tmp_path / "run" / "model.safetensors"))
    assert made.autoencoder == "vidlatent-tiny"
    assert made.fps == 24
    assert sum(made.mean) / 16 == pytest.approx(2, abs=0.5)
    assert sum(made.std) / 16 == pytest.approx(3, abs=0.5)


def test_a_dataset_goes_on_in_the_middle_of_an_epoch(write, dataset):
    config = load_config(DiffusionConfig, write(data={"source": "latents", "path": str(dataset)}))
    source = StoredLatents(config.data, config)
    batches = source.batches(rank=0, world=1)
    items = iter(batches)
    for _ in range(3):  # two batches an epoch: this is in the second one
        next(items)
    state = batches.state_dict()
    wanted = [next(items)["z"] for _ in range(2)]
    resumed = source.batches(rank=0, world=1)
    resumed.load_state_dict(state)
    for batch, right in zip(resumed, wanted, strict=False):
        torch.testing.assert_close(batch["z"], right)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("frmes=3", "frmes"),
        ("frames=9", "frames=9 is more than data.num_latents=5"),
        ("frames=4; apart=2; model.sinks=1", "frames=4 and apart=2 is more than data.num_latents=5"),
        ("apart=1", "model.sinks says how many"),
        ("model.block=3; model.window=3", "frames=4 must be a multiple of model.block=3"),
        ("model.heads=3", "dim=32 must be a multiple of heads=3"),
        ("model.channels=8", "the latents have 16 channels"),
        ("model=null", "say the architecture"),
        ("method.modes={}", "at least one of full, forcing, teacher"),
        ("data.world=pong", "allowed are bounce, planes, maze"),
        ("method={name: consistency, teacher: nowhere.safetensors}", "nowhere.safetensors: no such file"),
        ("data={source: latents, path: nowhere}", "nowhere"),
    ],
)
def test_a_wrong_configuration_ends_before_the_first_step(write, tmp_path, override, message):
    with pytest.raises((InputError, ModelError), match=message):
        run(write(), override.split("; "))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_that_ships_is_valid(path):
    config = load_config(DiffusionConfig, path)
    assert config.model is None or config.model.window < config.frames  # frames leave the window in training


def test_the_tiny_configuration_has_a_small_form(tmp_path):
    metrics = run(CONFIGS / "tiny.yaml", [f"out={tmp_path}", "trackers=[]", "stages.0.steps=2"], smoke=True)
    assert metrics["loss"] > 0
