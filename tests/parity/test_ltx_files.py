"""LTX's files go both ways: diffusers' folders, and the authors' single files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ltx2_vae_to_diffusers,
    convert_ltx_vae_checkpoint_to_diffusers,
)
from family_checks import assert_files_go_both_ways, ours_of
from ltx_reference import CLASSES, NARROW, reference
from safetensors.torch import save_file

from vidlatent.autoencoders import load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.errors import ModelError

CONVERTERS = {"ltx-video": convert_ltx_vae_checkpoint_to_diffusers, "ltx-2": convert_ltx2_vae_to_diffusers}


@pytest.mark.parametrize("preset", NARROW)
def test_files_go_both_ways(preset: str, tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(preset), tmp_path)


def test_latent_statistics_come_with_the_weights(tmp_path: Path) -> None:
    theirs = reference("ltx-2")
    ours = ours_of(theirs, tmp_path)
    latents = torch.randn(1, 8, 2, 2, 2)
    mean, std = (tensor.view(1, -1, 1, 1, 1) for tensor in (theirs.latents_mean, theirs.latents_std))
    torch.testing.assert_close(ours.normalize(latents), (latents - mean) / std)
    torch.testing.assert_close(ours.denormalize(ours.normalize(latents)), latents)


@pytest.mark.parametrize("preset", NARROW)
def test_every_tensor_of_the_published_size_has_its_place(preset: str) -> None:
    entry = CATALOG[preset]
    published = adapter(entry.family)
    with torch.device("meta"):
        values = published.write_config(entry.config)
        theirs = CLASSES[entry.family](**{k: v for k, v in values.items() if k[0] != "_"})
    links = published.links(entry.config, shapes_of(without_weights(entry.family, entry.config)), "diffusers")
    placed = {link.theirs: link.their_shape for link in links}
    statistics = {name: tuple(tensor.shape) for name, tensor in published.pack(entry.config).items()}
    assert {**placed, **statistics} == shapes_of(theirs)
    assert published.read_config(json.loads(json.dumps(values)), "config.json") == entry.config


@pytest.mark.parametrize("preset", [name for name in NARROW if name != "ltx-2.3"])
def test_the_authors_names_are_those_that_diffusers_converts(preset: str) -> None:
    """diffusers' converters know the authors' names; the installed one stops short of LTX-2.3's fourth level."""
    entry = CATALOG[preset]
    ours, published = without_weights(entry.family, entry.config), adapter(entry.family)
    links = published.links(entry.config, shapes_of(ours), "original")
    stored = {f"vae.{link.theirs}": torch.zeros(()).expand(link.their_shape) for link in links}
    for key in ("mean-of-means", "std-of-means", "mean-of-stds", "channel"):
        stored[f"vae.per_channel_statistics.{key}"] = torch.zeros(128)
    converted = {name: tuple(tensor.shape) for name, tensor in CONVERTERS[entry.family](stored).items()}
    want = {link.theirs: link.their_shape for link in published.links(entry.config, shapes_of(ours), "diffusers")}
    assert converted == {**want, "latents_mean": (128,), "latents_std": (128,)}


def test_a_whole_pipeline_in_one_file_loads(tmp_path: Path) -> None:
    theirs = reference("ltx-video-0.9.1")
    ours = ours_of(theirs, tmp_path / "folder")
    links = adapter("ltx-video").links(ours.config, shapes_of(ours), "original")
    stored = {f"vae.{link.theirs}": link.write(ours.state_dict()[link.ours]) for link in links}
    stored["vae.per_channel_statistics.mean-of-means"] = theirs.latents_mean
    stored["vae.per_channel_statistics.std-of-means"] = theirs.latents_std
    stored["vae.per_channel_statistics.mean-of-stds"] = torch.zeros(8)
    stored["model.diffusion_model.proj_in.weight"] = torch.zeros(3)
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, tmp_path / "ltx.safetensors")
    assert load(tmp_path / "folder", weights=tmp_path / "ltx.safetensors").fingerprint == ours.fingerprint
    del stored["vae.decoder.conv_in.conv.bias"]
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, tmp_path / "torn.safetensors")
    with pytest.raises(ModelError, match=r"1 missing: decoder\.conv_in\.conv\.bias"):
        load(tmp_path / "folder", weights=tmp_path / "torn.safetensors")


def test_our_own_fields_are_written_where_they_differ(tmp_path: Path) -> None:
    ours = ours_of(reference("ltx-video-0.9.1"), tmp_path / "theirs")
    values = json.loads((tmp_path / "theirs" / "config.json").read_text())
    values["decode_timestep"], values["noise_seed"] = 0.1, 5
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(values))
    changed = load(tmp_path / "theirs")
    assert changed.config == replace(ours.config, decode_timestep=0.1, noise_seed=5)
    assert changed.fingerprint != ours.fingerprint
    save_pretrained(changed, tmp_path / "ours")
    assert load(tmp_path / "ours").fingerprint == changed.fingerprint
    back = CLASSES["ltx-video"].from_pretrained(tmp_path / "ours", local_files_only=True)
    assert back.config.timestep_conditioning


@pytest.mark.parametrize(
    ("preset", "changes", "said"),
    [
        ("ltx-video-0.9.0", {"encoder_causal": False}, "encoder_causal is False, only True"),
        ("ltx-video-0.9.0", {"patch_size_t": 2}, "patch_size_t is 2"),
        ("ltx-video-0.9.0", {"down_block_types": ["LTXVideo095DownBlock3D"] * 4}, "its levels need"),
        ("ltx-video-0.9.0", {"upsample_type": ["spatial"]}, "unknown keys upsample_type"),
        ("ltx-2", {"encoder_spatial_padding_mode": "reflect"}, "only 'zeros' is supported"),
    ],
)
def test_what_is_not_supported_is_refused(preset: str, changes: dict, said: str) -> None:
    published = adapter(CATALOG[preset].family)
    values = {**published.write_config(CATALOG[preset].config), **changes}
    with pytest.raises(ModelError, match=said):
        published.read_config(values, "config.json")


def test_keys_left_away_mean_what_diffusers_means() -> None:
    for family, kind in CLASSES.items():
        with torch.device("meta"):
            theirs = kind()
        config = adapter(family).read_config({}, "config.json")
        links = adapter(family).links(config, shapes_of(without_weights(family, config)), "diffusers")
        assert {link.theirs for link in links} | {"latents_mean", "latents_std"} == theirs.state_dict().keys()
        assert config.decoder_causal == theirs.config.decoder_causal
