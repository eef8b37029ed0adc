"""Wan's files go both ways: diffusers' folders, and the keys of the authors' own checkpoints."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from wan_reference import reference, video

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights

PRESETS = ["wan-2.1", "wan-2.2"]


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_diffusers_loads_back_what_was_saved(preset: str, tmp_path: Path) -> None:
    theirs = reference(preset)
    theirs.save_pretrained(tmp_path / "theirs")
    save_pretrained(load(tmp_path / "theirs"), tmp_path / "ours")
    back = AutoencoderKLWan.from_pretrained(tmp_path / "ours", local_files_only=True).eval()
    assert {k: v for k, v in back.config.items() if k[0] != "_"} == {
        k: v for k, v in theirs.config.items() if k[0] != "_"
    }
    want = theirs.state_dict()
    assert back.state_dict().keys() == want.keys()
    assert all(torch.equal(tensor, want[name]) for name, tensor in back.state_dict().items())


@torch.no_grad()
def test_shards_and_pipelines_are_found(tmp_path: Path) -> None:
    theirs = reference("wan-2.1")
    theirs.save_pretrained(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "pipeline" / "vae", max_shard_size="1MB")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert len(list((tmp_path / "pipeline" / "vae").glob("*.safetensors"))) > 1
    want = load(tmp_path / "whole").fingerprint
    assert load(tmp_path / "pipeline").fingerprint == want
    assert load(tmp_path / "pipeline", subfolder="vae").fingerprint == want


@pytest.mark.parametrize("preset", PRESETS)
def test_every_tensor_of_the_published_size_has_its_place(preset: str) -> None:
    config = CATALOG[preset].config
    ours = without_weights("wan", config)
    values = {k: v for k, v in adapter("wan").write_config(config).items() if k[0] != "_"}
    with torch.device("meta"):
        theirs = AutoencoderKLWan(**values)
    links = adapter("wan").links(config, shapes_of(ours), "diffusers")
    assert {link.theirs: link.their_shape for link in links} == shapes_of(theirs)


@torch.no_grad()
def test_original_keys_are_those_that_diffusers_converts(tmp_path: Path) -> None:
    """diffusers' converter of Wan2.1_VAE.pth knows the authors' names; it has none for Wan 2.2."""
    ours = build("wan-2.1", base_dim=16, seed=3)
    links = adapter("wan").links(ours.config, shapes_of(ours), "original")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    theirs = reference("wan-2.1")
    theirs.load_state_dict(convert_wan_vae_to_diffusers(dict(original)))
    clip = video(5)
    torch.testing.assert_close(ours.encode(clip).mean, theirs.encode(clip).latent_dist.mean, rtol=1e-4, atol=1e-5)
    theirs.save_pretrained(tmp_path / "folder")
    torch.save(original, tmp_path / "Wan2.1_VAE.pth")
    assert load(tmp_path / "folder", weights=tmp_path / "Wan2.1_VAE.pth").fingerprint == ours.fingerprint
    assert load(tmp_path / "folder").fingerprint == ours.fingerprint
