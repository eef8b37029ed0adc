"""Recipes: every file says what can be trained, its small form learns, and overfits one clip."""

import json
from pathlib import Path

import pytest
import yaml

from vidlatent.autoencoders.families import FAMILIES, without_weights
from vidlatent.autoencoders.published import parse_config
from vidlatent.config import load_config
from vidlatent.train import run
from vidlatent.train.autoencoder_config import AutoencoderConfig
from vidlatent.train.autoencoder_models import check_fits, select_trained
from vidlatent.train.clips import ClipDataConfig

FOLDER = Path(__file__).parents[2] / "configs" / "autoencoder"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "vidlatent-tiny")
PUBLISHED = {
    "kl-f4x8x8",
    "vqvae",
    "vqvae2",
    "vqgan",
    "movq",
    "fsq",
    "lfq-magvit2",
    "wf-vae",
    "dc-ae-f32",
    "vidtok",
    "wan-like",
}


def test_every_published_system_has_a_recipe() -> None:
    assert set(RECIPES) >= PUBLISHED


@pytest.mark.parametrize("smoke", [False, True], ids=["whole", "smoke"])
@pytest.mark.parametrize("name", RECIPES)
def test_the_model_can_be_built_and_its_data_fits(name: str, smoke: bool, tmp_path: Path) -> None:
    config = load_config(AutoencoderConfig, FOLDER / f"{name}.yaml", [f"data.folder={tmp_path}"], smoke=smoke)
    if config.model.load:
        assert config.stages[0].trained == ("decoder",)
        return
    family = FAMILIES[str(config.model.family)]
    ae = without_weights(str(config.model.family), parse_config(family.config, config.model.config, name))
    for stage in config.stages:
        check_fits(ae, ClipDataConfig.model_validate(config.data.model_dump() | stage.data))
        select_trained(ae, stage.trained)
        assert not stage.losses.kl or ae.has_logvar


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_where_their_numbers_are_from(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert "arXiv:" in text or "github.com" in text or name == "finetune-decoder"
    assert yaml.safe_load(text)["smoke"]["trackers"] == []


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_the_small_form_learns_on_real_clips(name: str, data_dir: Path, tmp_path: Path) -> None:
    overrides = [f"data.folder={data_dir / 'natural' / 'train'}", f"out={tmp_path / 'out'}"]
    metrics = run(FOLDER / f"{name}.yaml", overrides, smoke=True)
    loss = [line["autoencoder/loss"] for line in lines(tmp_path / "out") if "autoencoder/loss" in line]
    assert name == "finetune-decoder" or min(loss) < 0.75 * loss[0]
    assert metrics.get("codebook_0_perplexity", 99) > 8


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_the_small_form_overfits_one_clip(name: str, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    clip = data_dir / "natural" / "train" / "tokenflow_woman_512.mp4"
    (tmp_path / "one" / clip.name).symlink_to(clip)
    overrides = [f"data.folder={tmp_path / 'one'}", f"out={tmp_path / 'out'}", "data.pool=1", "data.zoom=[1, 1]"]
    run(FOLDER / f"{name}.yaml", [*overrides, "stages.0.steps=600"], smoke=True)
    assert max(line.get("psnr", 0) for line in lines(tmp_path / "out")) > 22
