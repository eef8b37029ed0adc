"""Folders that diffusers itself saved, in shards, whole and damaged, for every family that it has."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from narrow_models import NARROW, theirs
from safetensors.torch import load_file, save_file

from vidlatent.autoencoders import Autoencoder, build, load, loading, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import CONFIG, INDEX, WEIGHTS, adapter
from vidlatent.autoencoders.families import FAMILIES, shapes_of
from vidlatent.errors import ModelError

PUBLISHED = {name: family.published for name, family in FAMILIES.items() if family.published}
PRESETS = [
    preset
    for preset in NARROW
    if "AutoencoderKL" in (kind := getattr(PUBLISHED.get(CATALOG[preset].family), "class_name", ""))
    or kind in ("AutoencoderDC", "AutoencoderVidTok")
]
PRESETS.remove("minimax-h3")  # what makes it narrow, its tiles, is no key of the configuration
ORIGINAL = [p for p in NARROW if "original" in getattr(PUBLISHED.get(CATALOG[p].family), "namings", ())]


def refusal(source: Path | str, **options: object) -> str:
    """The one line that says why nothing is loaded."""
    with pytest.raises(ModelError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(preset: str, tmp_path: Path) -> Path:
    """A folder of ours."""
    save_pretrained(narrow(preset), tmp_path / "ours")
    return tmp_path / "ours"


def narrow(preset: str, seed: int = 0) -> Autoencoder:
    return build(preset, seed=seed, **NARROW[preset])


@pytest.mark.parametrize("preset", PRESETS)
def test_shards_that_diffusers_saved_are_put_together(preset: str, tmp_path: Path) -> None:
    model = theirs(preset)
    size = sum(p.nbytes for p in model.parameters())
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size=f"{size // 2 // 1000 + 1}KB")
    shards = sorted((tmp_path / "many").glob("*.safetensors"))
    assert len(shards) > 1
    assert load(tmp_path / "many").fingerprint == load(tmp_path / "one").fingerprint
    assert f"{shards[0]}: one shard of several: load its folder" in refusal(shards[0])
    kept = shards[-1].read_bytes()
    shards[-1].write_bytes(kept[: len(kept) // 2])
    assert f"{shards[-1]}: torn, or not a safetensors file" in refusal(tmp_path / "many")
    shards[-1].unlink()
    assert refusal(tmp_path / "many") == f"{shards[-1]}: no such file"


@pytest.mark.parametrize("preset", PRESETS)
def test_wrong_keys_are_named(preset: str, folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    first, last = sorted(tensors)[0], max(tensors, key=lambda name: tensors[name].ndim)
    save_file({k: v for k, v in tensors.items() if k != first}, folder / WEIGHTS)
    assert f"1 missing: {first} " in refusal(folder)
    save_file({**tensors, "decoder.another.weight": torch.zeros(1)}, folder / WEIGHTS)
    assert "1 unexpected: decoder.another.weight " in refusal(folder)
    save_file({**tensors, last: tensors[last][..., :0].clone()}, folder / WEIGHTS)
    assert f"1 of the wrong shape: {last} (found " in refusal(folder)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_configuration_of_another_family_is_refused(preset: str, folder: Path, tmp_path: Path) -> None:
    other = "mochi-1" if preset != "mochi-1" else "wan-2.1"
    save_pretrained(narrow(other), tmp_path / "other")
    (folder / CONFIG).write_text((tmp_path / "other" / CONFIG).read_text())
    message = refusal(folder)
    assert "the weights do not fit this model" in message
    assert " missing: " in message


def catalogue(monkeypatch: pytest.MonkeyPatch, *presets: str) -> None:
    """Nothing but narrow models of these presets."""
    entries = {preset: replace(CATALOG[preset], config=narrow(preset).config) for preset in presets}
    monkeypatch.setattr(loading, "CATALOG", entries)


@pytest.mark.parametrize("preset", ORIGINAL)
def test_weights_under_their_authors_names(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue(monkeypatch, preset)
    ours = narrow(preset, seed=1)
    family, state = CATALOG[preset].family, ours.state_dict()
    links = adapter(family).links(ours.config, shapes_of(ours), "original")
    tensors = {link.theirs: link.write(state[link.ours]) for link in links}
    torch.save({"state_dict": tensors}, tmp_path / "original.pth")
    save_file(tensors, tmp_path / "original.safetensors")
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"original.{suffix}"
        for back in (load(path), load(preset, weights=path)):
            assert (back.family, back.config) == (ours.family, ours.config)
            state = back.state_dict()
            assert all(torch.equal(link.write(state[link.ours]), tensors[link.theirs]) for link in links)
        path.write_bytes(path.read_bytes()[:-100])
        assert f"{path}: " in (message := refusal(preset, weights=path))
        assert "torn" in message


def test_a_file_of_two_families_is_known_by_its_folder_or_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue(monkeypatch, "wan-2.1", "qwen-image")
    qwen = narrow("qwen-image", seed=2)
    save_pretrained(qwen, tmp_path / "vae")
    assert load(tmp_path / "vae" / WEIGHTS).fingerprint == qwen.fingerprint
    lone = tmp_path / "qwen_image_vae.safetensors"
    lone.write_bytes((tmp_path / "vae" / WEIGHTS).read_bytes())
    assert load(lone).family == "qwen-image"
    assert not caplog.messages
    lone = lone.rename(tmp_path / "vae.safetensors")
    with caplog.at_level(logging.WARNING, "vidlatent"):
        assert load(lone).family == "wan"
    assert "is taken for wan-2.1; its tensors are those of qwen-image as well" in caplog.text
    assert load("qwen-image", weights=lone).fingerprint == qwen.fingerprint


def test_an_index_without_a_shard_of_its_own(tmp_path: Path) -> None:
    save_pretrained(narrow("wan-2.1"), tmp_path)
    (tmp_path / WEIGHTS).rename(tmp_path / "diffusion_pytorch_model-00001-of-00002.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {}}))
    assert "missing: " in refusal(tmp_path)
