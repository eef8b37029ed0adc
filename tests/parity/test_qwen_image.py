"""Qwen-Image equals diffusers' at the same random weights; the trees are Wan's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageUpsample
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    noise,
    ours_of,
    randomise,
)
from torch import nn

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError
from vidlatent.testing import assert_streams_exactly
from vidlatent.testing.streams import ALL_AXES


def reference(**config: object) -> AutoencoderKLQwenImage:
    with torch.no_grad():
        return randomise(AutoencoderKLQwenImage(**{"base_dim": 16, **config}))


@torch.no_grad()
@pytest.mark.parametrize(("width", "frames"), [(16, 1), (16, 9), (96, 1), pytest.param(96, 5, marks=pytest.mark.slow)])
def test_models_are_equal(width: int, frames: int, tmp_path: Path) -> None:
    theirs = reference(base_dim=width)
    ours, clip, latents = ours_of(theirs, tmp_path), noise(3, frames, 32, 48), noise(16, 1 + frames // 4, 4, 3)
    assert ours.family == "qwen-image"
    moments = torch.cat([ours.encode(clip).mean, ours.encode(clip).logvar], 1)
    assert_equal(moments, theirs.encode(clip).latent_dist.parameters, 1e-5)
    assert_equal(ours.decode(latents), theirs.decode(latents).sample, 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QwenImageUpsample, "forward", nn.Upsample.forward)  # theirs is in float32
    theirs = reference().double()
    ours, clip = ours_of(theirs, tmp_path), noise(3, 5, 32, 48, dtype=torch.double)
    want = theirs.encode(clip).latent_dist.mean
    assert_equal(ours.encode(clip).mean, want, 1e-12)
    assert_equal(ours.decode(want), theirs.decode(want).sample, 1e-12)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(dim_mult=[1, 2, 2], temperal_downsample=[True, False]), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLQwenImage, "qwen-image", CATALOG["qwen-image"].config)


def test_weights_under_the_names_of_wans_authors_load(tmp_path: Path) -> None:
    ours = build("qwen-image", base_dim=8, seed=3)
    links = adapter("wan").links(ours.config, shapes_of(ours), "original")
    torch.save({link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}, tmp_path / "qwen.pth")
    save_pretrained(build("qwen-image", base_dim=8), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "qwen.pth").fingerprint == ours.fingerprint


def test_what_its_class_cannot_say_is_refused() -> None:
    config = replace(CATALOG["qwen-image"].config, patch_size=2)
    with pytest.raises(ModelError, match="AutoencoderKLQwenImage has no patch_size, which is 2 here: leave it at 1"):
        adapter("qwen-image").write_config(config)


def test_statistics_are_written_even_where_there_are_none() -> None:
    config = replace(CATALOG["qwen-image"].config, mean=(), std=())
    values = adapter("qwen-image").write_config(config)
    assert values["latents_mean"] == [0.0] * 16
    assert values["latents_std"] == [1.0] * 16


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    ae = build("qwen-image", base_dim=8, num_res_blocks=1).double()
    assert_streams_exactly(ae.encoder, noise(3, 9, 19, 8, dtype=torch.double), [axes], partitions=3)
    assert_streams_exactly(ae.decoder, noise(16, 3, 4, 2, dtype=torch.double), [axes], partitions=3)
