"""Loading: every place that weights come from."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loading_helpers import SMALL, edit, original, small_wan
from safetensors.torch import load_file, save_file

from vidlatent.autoencoders import Autoencoder, build, load, load_checkpoint, loading, save_checkpoint, save_pretrained
from vidlatent.autoencoders.diffusers_format import INDEX, WEIGHTS


@pytest.fixture(scope="module")
def wan() -> Autoencoder:
    return small_wan()


@pytest.fixture
def folder(wan: Autoencoder, tmp_path: Path) -> Path:
    wan.save_pretrained(tmp_path / "wan")
    return tmp_path / "wan"


@pytest.mark.parametrize("name", ["vidlatent-tiny", "wan-2.1"])
def test_own_checkpoints_come_back_whole(name: str, tmp_path: Path) -> None:
    ae = build(name, seed=2, **(SMALL if name == "wan-2.1" else {"mean": (0.5,) * 16, "std": (2.0,) * 16}))
    save_checkpoint(ae, tmp_path / "ae.safetensors")
    back = load(tmp_path / "ae.safetensors")
    assert (back.family, back.config, back.fingerprint) == (ae.family, ae.config, ae.fingerprint)
    assert not back.training
    assert load(name, weights=tmp_path / "ae.safetensors").fingerprint == ae.fingerprint
    video = torch.rand(1, 3, 5, 16, 16)
    with torch.no_grad():
        assert torch.equal(back.encode(video).mean, ae.encode(video).mean)


def test_half_the_disk_then_any_type(wan: Autoencoder, tmp_path: Path) -> None:
    save_checkpoint(wan, tmp_path / "half.safetensors", dtype=torch.bfloat16)
    assert {t.dtype for t in load_file(tmp_path / "half.safetensors").values()} == {torch.bfloat16}
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        back = load_checkpoint(tmp_path / "half.safetensors", dtype=dtype)
        assert {p.dtype for p in back.parameters()} == {dtype}
        want = wan.encoder.conv_in.weight.bfloat16().to(dtype)  # type: ignore[union-attr]
        assert torch.equal(back.encoder.conv_in.weight, want)  # type: ignore[arg-type]


def test_weights_are_ours_alone_once_loaded(wan: Autoencoder, folder: Path, tmp_path: Path) -> None:
    """Neither a torn file nor saving over the loaded one reaches a model in memory."""
    ae = load(folder)
    save_pretrained(ae, folder)
    (folder / WEIGHTS).write_bytes(b"")
    assert ae.fingerprint == wan.fingerprint
    assert all(parameter.requires_grad for parameter in ae.parameters())
    assert ae.encoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last_3d)  # type: ignore[union-attr]


def test_a_folder_in_diffusers_format(wan: Autoencoder, folder: Path) -> None:
    back = load(folder)
    assert (back.config, back.fingerprint) == (wan.config, wan.fingerprint)
    assert load(str(folder)).fingerprint == wan.fingerprint
    assert load(folder.parent, subfolder="wan").fingerprint == wan.fingerprint


def test_a_pipeline_folder_has_its_vae_found(wan: Autoencoder, tmp_path: Path) -> None:
    save_pretrained(wan, tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{}")
    assert load(tmp_path).fingerprint == wan.fingerprint


def test_shards(wan: Autoencoder, folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = {name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == shard}, folder / shard)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert load(folder).fingerprint == wan.fingerprint


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_original_checkpoints(wan: Autoencoder, folder: Path, tmp_path: Path, suffix: str, wrapped: bool) -> None:
    path, tensors = tmp_path / f"Wan2.1_VAE{suffix}", original(wan)
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors} if wrapped else tensors, path)
    (folder / WEIGHTS).unlink()  # only the configuration is wanted
    assert load(folder, weights=path).fingerprint == wan.fingerprint


def test_original_checkpoints_of_a_preset_are_known_by_their_keys(
    wan: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preset is narrowed here, so that the file is small, and the catalogue is short."""
    known = loading.CATALOG
    few = {"wan-2.1": replace(known["wan-2.1"], config=wan.config), "taehv": known["taehv"], "sd": known["sd"]}
    monkeypatch.setattr(loading, "CATALOG", few)
    torch.save(original(wan), tmp_path / "Wan2.1_VAE.pth")
    assert load(tmp_path / "Wan2.1_VAE.pth").fingerprint == wan.fingerprint
    assert load("wan-2.1", weights=tmp_path / "Wan2.1_VAE.pth").fingerprint == wan.fingerprint


def test_packaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ae = build("vidlatent-tiny", seed=5)
    (tmp_path / "tiny" / "weights").mkdir(parents=True)
    save_checkpoint(ae, tmp_path / "tiny" / "weights" / "vidlatent-tiny.safetensors")
    monkeypatch.setattr(loading, "PACKAGED", tmp_path)
    assert load("vidlatent-tiny").fingerprint == ae.fingerprint


def test_published_configurations_of_any_age(folder: Path, wan: Autoencoder) -> None:
    """Older files lack keys that have defaults; newer ones say `clip_output`, which changes nothing."""
    absent = ("decoder_base_dim", "is_residual", "in_channels", "patch_size", "scale_factor_spatial")
    edit(folder, clip_output=False, **dict.fromkeys(absent, ...))
    assert load(folder).fingerprint == wan.fingerprint


def test_a_failed_save_leaves_the_old_file(wan: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(wan, tmp_path / "ae.safetensors")
    before = (tmp_path / "ae.safetensors").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(wan, tmp_path / "ae.safetensors")
    assert (tmp_path / "ae.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["ae.safetensors"]
