"""Folders of small videos, datasets as plain dictionaries, and what it takes for two of them to be equal."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from pipeline_helpers import moving, narrow
from torch import Tensor

import vidlatent
from vidlatent.autoencoders import Autoencoder, save_checkpoint
from vidlatent.encode import Stats, encode_dataset

LENGTHS = (1, 9, 17, 24, 30, 8)
KINDS: dict[str, Any] = {"frames": 8, "tail": "keep", "decoders": 1, "device": "cpu", "commit_seconds": 0.1}


def seeded() -> Autoencoder:
    torch.manual_seed(0)
    return narrow()


def make_videos(folder: Path, count: int = len(LENGTHS), *, height: int = 40, width: int = 56) -> Path:
    """Videos that differ, of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        length = LENGTHS[index % len(LENGTHS)]
        frames = moving(length + index, height=height, width=width)[index:]
        vidlatent.write_video(folder / f"{index:03d}.mp4", frames, fps=25)
    return folder


def make_model(path: Path) -> Path:
    save_checkpoint(seeded(), path)
    return path


def clips_of(dataset: Path | str) -> dict[str, Tensor]:
    """Latents by key, each key once; and not a shard but the finished ones."""
    opened = vidlatent.open_latents(dataset)
    assert len(set(opened.keys)) == len(opened)
    return {key: opened[index]["latents"] for index, key in enumerate(opened.keys)}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, latents in one.items():
        # Batches differ from run to run, and with them the order of sums; then one rounding to bfloat16.
        torch.testing.assert_close(latents.float(), other[key].float(), rtol=1e-2, atol=1e-3)


def encode(source: Path | str, out: Path | str, model: Any, **options: Any) -> Stats:
    return encode_dataset(source, out, model=model, **{**KINDS, **options})


def needs_ray() -> Any:
    return pytest.importorskip("ray") if not os.environ.get("CI") else __import__("ray")
