"""Loading: one clear error for every way that names, configurations and files can be wrong."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from loading_helpers import edit, original, refused, small_wan
from safetensors.torch import load_file, save_file

from vidlatent.autoencoders import Autoencoder, build, load_checkpoint, save_checkpoint, save_pretrained
from vidlatent.autoencoders.diffusers_format import INDEX, WEIGHTS
from vidlatent.errors import ModelError


@pytest.fixture(scope="module")
def wan() -> Autoencoder:
    return small_wan()


@pytest.fixture
def folder(wan: Autoencoder, tmp_path: Path) -> Path:
    save_pretrained(wan, tmp_path / "wan")
    return tmp_path / "wan"


def test_names(tmp_path: Path) -> None:
    refused("no weights in the package.*build\\('wan-2.1'\\)", "wan-2.1")
    refused("no such file or folder.*near it are .*wan-2.*`vidlatent models` lists all", "wan2")
    refused("no such file or folder", str(tmp_path / "nowhere"))
    refused("no such file", "runs/missing.safetensors")
    refused("no folders inside", "wan-2.1", subfolder="vae")
    refused("no such file", "wan-2.1", weights=tmp_path / "missing.pth")


def test_folders(folder: Path, wan: Autoencoder, tmp_path: Path) -> None:
    refused("no config.json", tmp_path)
    refused("no config.json", folder, subfolder="vae")
    (tmp_path / "model_index.json").write_text("{}")
    refused("pipeline without a vae: \\['wan'\\]", tmp_path)
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    refused("found diffusion_pytorch_model.bin", folder)
    save_checkpoint(wan, tmp_path / "own.safetensors")
    refused("is a weight file already", tmp_path / "own.safetensors", weights=tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "VQModel"}, "_class_name is 'VQModel'; supported are AutoencoderKLWan"),
        ({"_class_name": ...}, "_class_name is None"),
        ({"use_magic": True}, "unknown keys use_magic; AutoencoderKLWan has base_dim"),
        ({"attn_scales": [0.5]}, "attn_scales is \\[0.5\\], only \\[\\] is supported"),
        ({"in_channels": 4}, "in_channels is 4, only 3"),
        ({"base_dim": "wide"}, "base_dim: .*integer"),
        ({"base_dim": 0}, "base_dim must be at least 1"),
        ({"latents_mean": [0.0]}, "mean has 1 entries for 2 latent channels"),
        ({"temperal_downsample": [True]}, "temporal_downsample needs one entry between"),
        ({"base_dim": 8}, "of the wrong shape: .*found \\(4,.*expected \\(8,"),
        ({"is_residual": True}, "missing: .*unexpected: "),
        ({"num_res_blocks": 2}, "missing: "),
    ],
)
def test_configurations(folder: Path, changes: dict, said: str) -> None:
    edit(folder, **changes)
    assert str(folder) in refused(said, folder)


@pytest.mark.parametrize("text", ["{", "[1]", "\0", "[" * 100_000])
def test_configurations_that_are_no_json_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused("config.json: (not readable as JSON|expected a JSON object)", folder)


def test_keys(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    moved = tensors.pop("encoder.conv_in.weight")
    save_file({**tensors, "encoder.conv_out.gamma": moved, "quant_conv.bias": torch.zeros(3)}, folder / WEIGHTS)
    message = refused("do not fit", folder)
    assert "1 missing: encoder.conv_in.weight (4, 3, 3, 3, 3)" in message
    assert "1 unexpected: encoder.conv_out.gamma (4, 3, 3, 3, 3)" in message
    assert "1 of the wrong shape: quant_conv.bias (found (3,), expected (4,))" in message
    save_file({"other": moved}, folder / WEIGHTS)
    refused("and [0-9]+ more; 1 unexpected: other", folder)


@pytest.mark.parametrize("kept", [0, 7, 300, -1])
def test_torn_files(folder: Path, wan: Autoencoder, tmp_path: Path, kept: int) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:kept])
    refused("torn, or not a safetensors file", folder)
    torch.save(original(wan), tmp_path / "torn.pth")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "torn.pth").read_bytes()[: kept if kept >= 0 else -2000])
    refused("torn", folder, weights=tmp_path / "torn.pth")


class Payload:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("pwned",)


def test_pickles_run_no_code(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Payload()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("zip.pth", "plain.pt"):
        refused("refused: it holds more than tensors", folder, weights=tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_files_of_other_things(folder: Path, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    refused("expected tensors by name", folder, weights=tmp_path / "list.pth")
    torch.save({"epoch": 3, "weights": {"a": torch.zeros(1)}}, tmp_path / "training.pt")
    refused("state_dict, model, model_state", folder, weights=tmp_path / "training.pt")
    (tmp_path / "weights.npz").write_bytes(b"PK")
    refused("weights are read from .safetensors, .pth", folder, weights=tmp_path / "weights.npz")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    refused("without a configuration, and its 1 tensors are those of no model", tmp_path / "bare.safetensors")


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd"])
def test_an_index_stays_in_its_folder(folder: Path, name: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"quant_conv.bias": name}}))
    refused("is not a file of this folder", folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": ["a"]}))
    refused("weight_map must name a file for each key", folder)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"family": "mystery"}, "of family 'mystery'; this version knows .*wan"),
        ({"config": "{"}, "configuration is not readable"),
        ({"config": "[]"}, "configuration is list"),
        ({"config": '{"base_width": 4}'}, "unknown configuration keys base_width; known are base_dim"),
        ({"config": '{"base_dim": [4]}'}, "base_dim: "),
        ({"config": "{}"}, "do not fit"),
    ],
)
def test_damaged_checkpoints_of_our_own(wan: Autoencoder, tmp_path: Path, metadata: dict, said: str) -> None:
    path = tmp_path / "own.safetensors"
    save_checkpoint(wan, path)
    save_file(load_file(path), path, {"format": "vidlatent", "family": "wan", "config": "{}", **metadata})
    refused(said, path)


def test_checkpoints_and_presets_must_agree(wan: Autoencoder, folder: Path, tmp_path: Path) -> None:
    save_checkpoint(wan, tmp_path / "own.safetensors")
    refused("is of family 'wan', vidlatent-tiny of 'tiny'", "vidlatent-tiny", weights=tmp_path / "own.safetensors")
    with pytest.raises(ModelError, match="no vidlatent checkpoint"):
        load_checkpoint(folder / WEIGHTS)
    with pytest.raises(ModelError, match="exists in vidlatent only"):
        save_pretrained(build("vidlatent-tiny"), tmp_path / "tiny")
