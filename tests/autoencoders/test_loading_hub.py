"""Loading from the hub, with a cache laid out as its client keeps it and no network."""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from loading_helpers import small_wan
from safetensors.torch import load_file, save_file

from vidlatent.autoencoders import load, save_pretrained
from vidlatent.autoencoders.diffusers_format import CONFIG, INDEX, SHARDS, WEIGHTS
from vidlatent.errors import ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, offline."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def cached(cache: Path, repo_id: str, revision: str = "main", commit: str = COMMIT) -> Path:
    """The snapshot folder of a repository in the cache."""
    root = cache / f"models--{repo_id.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    return root / "snapshots" / commit


def test_offline_the_cache_is_enough(cache: Path) -> None:
    ae = small_wan()
    save_pretrained(ae, cached(cache, "someone/vae"))
    pipeline = cached(cache, "someone/pipeline")
    save_pretrained(ae, pipeline / "vae")
    (pipeline / "model_index.json").write_text("{}")
    fingerprint = load("someone/vae", dtype=torch.float32).fingerprint
    assert fingerprint == load("someone/pipeline").fingerprint == load("someone/pipeline", subfolder="vae").fingerprint


def test_a_revision_is_a_branch_a_tag_or_a_commit(cache: Path, tmp_path: Path) -> None:
    old, new, other = small_wan(1), small_wan(2), COMMIT[::-1]
    save_pretrained(new, cached(cache, "someone/vae"))
    save_pretrained(old, cached(cache, "someone/vae", "v1", other))
    assert load("someone/vae").fingerprint == new.fingerprint
    assert load("someone/vae", revision="v1").fingerprint == old.fingerprint
    assert load("someone/vae", revision=other).fingerprint == old.fingerprint
    with pytest.raises(ModelError, match=r"someone/vae at revision 'v2': not to be had"):
        load("someone/vae", revision="v2")
    for place in ("wan-2.1", str(tmp_path)):
        with pytest.raises(ModelError, match="is not on the hub: leave revision='v1' away"):
            load(place, revision="v1")


def test_shards_in_the_cache(cache: Path) -> None:
    ae = small_wan()
    folder = cached(cache, "someone/vae")
    save_pretrained(ae, folder)
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = {name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == shard}, folder / shard)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert load("someone/vae").fingerprint == ae.fingerprint
    (folder / shard).unlink()
    with pytest.raises(ModelError, match=f"{shard}: no such file"):
        load("someone/vae")


def test_what_cannot_be_had_is_one_error(cache: Path) -> None:
    with pytest.raises(
        ModelError, match=r"nobody/nothing: not to be had from the Hugging Face hub.*HF_HUB_OFFLINE"
    ) as e:
        load("nobody/nothing")
    assert "\n" not in str(e.value)


def test_the_configuration_is_read_before_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str | None, list[str]]] = []
    root = tmp_path / COMMIT

    def snapshot(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((revision, allow_patterns))
        return str(root)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    save_pretrained(small_wan(), root / "vae")
    load("someone/pipeline")
    assert asked == [
        (None, ["model_index.json", CONFIG, f"vae/{CONFIG}"]),
        (COMMIT, [f"vae/{name}" for name in (CONFIG, WEIGHTS, INDEX, SHARDS)]),
    ]
    asked.clear()
    load("someone/pipeline", weights=root / "vae" / WEIGHTS)
    assert len(asked) == 1
    (root / "vae" / CONFIG).write_text(json.dumps({"_class_name": "VQModel"}))
    asked.clear()
    with pytest.raises(ModelError, match="VQModel"):
        load("someone/pipeline")
    assert len(asked) == 1
