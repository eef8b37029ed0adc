"""Weights of feature extractors from local files: safetensors, or `torch.load(weights_only=True)`, never a download."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.errors import ModelError

PathLike = str | os.PathLike[str]
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def read_weights(paths: PathLike | Sequence[PathLike]) -> dict[str, Tensor]:
    """Tensors by name from a file, several files, or all weight files of a folder, as float32.

    Raises `ModelError` for a missing, foreign or code-carrying file.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    tensors: dict[str, Tensor] = {}
    for path in named:
        for file in _files(Path(path)):
            tensors |= _read(file)
    return {name: tensor.float() for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        if not files:
            raise ModelError(f"{path}: a folder without weight files ({', '.join(_SUFFIXES)})")
        return files
    if not path.is_file():
        raise ModelError(f"{path}: no such file: weights are local files here, and nothing is downloaded")
    if path.suffix not in _SUFFIXES:
        raise ModelError(f"{path}: weights are read from {', '.join(_SUFFIXES)}, not {path.suffix or 'this'}")
    return [path]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds
        raise ModelError(f"{path}: torn, or not plain weights ({str(error).splitlines()[0]})") from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path}: expected tensors by name, got {type(loaded).__name__}")
    return loaded.get("state_dict", loaded)
