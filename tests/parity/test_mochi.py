"""Mochi equals diffusers' at the same random weights, decoded in one pass: diffusers' framewise paths do not run."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLMochi
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    noise,
    ours_of,
    randomise,
    unclamped,
)

from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.errors import ModelError

NARROW = {
    "encoder_block_out_channels": [32, 32, 64, 64],
    "decoder_block_out_channels": [32, 32, 64, 64],
    "layers_per_block": [1, 2, 1, 1, 1],
}


@torch.no_grad()
def reference(**config: object) -> AutoencoderKLMochi:
    return randomise(AutoencoderKLMochi(**config))


def assert_models_agree(theirs: AutoencoderKLMochi, folder: Path, frames: int, tolerance: float) -> None:
    ours, clip = ours_of(theirs, folder), noise(3, frames, 24, 16, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist
    assert_equal(posterior.mean, want.mean, tolerance)
    assert_equal(posterior.logvar, want.logvar, tolerance)
    latents = noise(12, 1 + frames // 6, 3, 2, dtype=theirs.dtype)
    assert_equal(unclamped(ours, latents), theirs.decode(latents).sample, tolerance)
    assert torch.equal(ours.decode(latents), unclamped(ours, latents).clamp(-1, 1))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7, 13])
def test_narrow_models_are_equal(frames: int, tmp_path: Path) -> None:
    assert_models_agree(reference(**NARROW), tmp_path, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_the_published_width_is_equal(frames: int, tmp_path: Path) -> None:
    assert_models_agree(reference(), tmp_path, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 13])
def test_in_double_only_the_order_of_summation_differs(frames: int, tmp_path: Path) -> None:
    assert_models_agree(reference(**NARROW).double(), tmp_path, frames, 1e-12)


def test_files_go_both_ways(tmp_path: Path) -> None:
    other = {"temporal_expansions": [2, 1, 2], "latents_mean": [0.5] * 12, "latents_std": [2.0] * 12}
    changes = {"spatial_expansions": [2, 2, 2], "add_attention_block": [True, False, True, False, True]}
    assert_files_go_both_ways(reference(**NARROW, **other, **changes), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLMochi, "mochi", CATALOG["mochi-1"].config)


def test_the_defaults_are_those_of_diffusers() -> None:
    with torch.device("meta"):
        theirs = AutoencoderKLMochi()
    config = adapter("mochi").read_config({}, "config.json")
    ours = without_weights("mochi", config)
    assert config == CATALOG["mochi-1"].config
    assert list(config.mean) == list(theirs.config.latents_mean)
    assert list(config.std) == list(theirs.config.latents_std)
    assert len(theirs.state_dict()) == len(adapter("mochi").links(config, shapes_of(ours), "diffusers"))


def test_what_is_not_supported_is_refused() -> None:
    with pytest.raises(ModelError, match=r"scaling_factor is 1.15, only 1.0"):
        adapter("mochi").read_config({"scaling_factor": 1.15}, "config.json")
