"""Recipes: every file says what can be trained, its small form learns, and overfits one clip."""

import sys
from pathlib import Path

import pytest
import yaml

from vidlatent.autoencoders.families import FAMILIES, without_weights
from vidlatent.autoencoders.published import parse_config
from vidlatent.config import load_config
from vidlatent.train.autoencoder_config import AutoencoderConfig
from vidlatent.train.autoencoder_models import check_fits, select_trained
from vidlatent.train.clips import ClipDataConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import recipes

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

OVERFIT = dict.fromkeys(RECIPES, 22.0) | {"fsq": 33.0, "kl-f4x8x8": 28.0, "lfq-magvit2": 28.0, "vqvae": 27.0}
"""Decibels that the small form reaches on one clip; 22 where it was not measured."""


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


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_the_small_form_learns_on_real_clips(name: str, data_dir: Path, tmp_path: Path) -> None:
    got = recipes.learn(name, data_dir / "natural" / "train", None, tmp_path / "out")
    assert name == "finetune-decoder" or got["loss_last"] < 0.75 * got["loss_first"]
    assert got.get("test_codebook_0_perplexity", 99) > 8


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_the_small_form_overfits_one_clip(name: str, data_dir: Path, tmp_path: Path) -> None:
    clip = data_dir / "natural" / "train" / "tokenflow_woman_512.mp4"
    assert recipes.overfit(name, clip, tmp_path / "out")["psnr"] > OVERFIT[name]


@pytest.mark.data
def test_a_small_form_begins_to_overfit_within_seconds(data_dir: Path, tmp_path: Path) -> None:
    clip = data_dir / "natural" / "train" / "tokenflow_woman_512.mp4"
    assert recipes.overfit("vqvae", clip, tmp_path / "out", longer=0.3)["psnr"] > 15
