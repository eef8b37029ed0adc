"""`info` and `verify` on a latent dataset, as a user sees them."""

import json
from pathlib import Path

import pytest
import torch
from cli_helpers import Here

from vidlatent.latents import ClipMeta, DatasetSettings, DatasetWriter, content_key

SPEC = {"channels": 4, "stride": (4, 8, 8), "first_frame": "single", "mean": (), "std": ()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = DatasetSettings("0123abcd", "a-model", SPEC, recipe={"fps": 24})
    with DatasetWriter(tmp_path / "set", settings, shard_bytes=1) as writer:
        for number in range(3):
            latents = torch.randn(3, 4, 4, 6, generator=torch.Generator().manual_seed(number))
            writer.add(content_key(str(number)), latents, ClipMeta(9, (32, 48), 24))
    return tmp_path / "set"


def test_info(here: Here, folder: Path) -> None:
    record = json.loads(here("info", folder, "--json").stdout)
    assert {name: record[name] for name in ("kind", "clips", "shards", "frames", "latent_frames", "dtype")} == {
        "kind": "dataset",
        "clips": 3,
        "shards": 3,
        "frames": 27,
        "latent_frames": 9,
        "dtype": "bfloat16",
    }
    assert record["compression"] == pytest.approx(9 * 32 * 48 * 3 / (3 * 4 * 4 * 6 * 2), abs=0.01)
    assert record["hours"] == pytest.approx(27 / 24 / 3600)
    assert len(record["stats"]["mean"]) == 4
    text = here("info", folder).stdout
    assert "48x32 (4x4x6): 3" in text
    assert "a-model, fingerprint 0123abcd" in text
    assert "fps 24" in text
    assert "not told" in text  # its source


def test_info_of_an_empty_dataset(here: Here, tmp_path: Path) -> None:
    DatasetWriter(tmp_path, DatasetSettings("0123abcd", "a-model", SPEC)).close()
    result = here("info", tmp_path)
    assert result.exit_code == 0
    assert "0 in 0 shards" not in result.stdout
    assert "0, 0.000 hours" in result.stdout


def test_verify_and_repair(here: Here, folder: Path) -> None:
    result = here("verify", folder)
    assert result.exit_code == 0
    assert "3 clips whole in 3 shards" in result.stdout
    tar = folder / "shards" / "w0-00001.tar"
    data = bytearray(tar.read_bytes())
    data[1000] ^= 4
    tar.write_bytes(data)
    result = here("verify", folder)
    assert result.exit_code == 1
    assert "changed: w0-00001, clip" in result.stdout
    assert "error: " in result.stderr
    assert "--repair" in result.stderr
    record = json.loads(here("verify", folder, "--json").stdout)
    assert (record["ok"], len(record["problems"])) == (False, 1)
    repaired = here("verify", folder, "--repair")
    assert repaired.exit_code == 0
    assert "1 shard put into quarantine/, 0 clips saved from there" in repaired.stdout
    assert "changed: w0-00001" in repaired.stdout
    assert here("verify", folder).exit_code == 0
    assert json.loads(here("verify", folder, "--fingerprint", "ffff", "--json").stdout)["ok"] is False


def test_verify_of_what_is_no_dataset(here: Here, tmp_path: Path) -> None:
    result = here("verify", tmp_path)
    assert result.exit_code == 1
    assert "not a latent dataset" in result.stderr
