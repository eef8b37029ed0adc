"""Weight files from anywhere: untrusted, so only formats that cannot run code are read."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.autoencoders.torchscript import is_torchscript, read_torchscript
from vidlatent.errors import ModelError

SAFETENSORS = (".safetensors",)
PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".jit")
_WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict")
"""Names under which training scripts put the weights among other things."""

_MEANS = "ema_model_state_dict"
"""Where some keep running means of the weights, one for each rate, which count before the weights themselves."""


@dataclass(frozen=True)
class TensorFile:
    """Tensors by name, mapped from the file, and the text that came with them."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_tensor_file(path: str | Path) -> TensorFile:
    """Read a weight file by its suffix: safetensors, or a pickle through `torch.load(weights_only=True)`.

    Raises `ModelError` for a missing, foreign, torn or code-carrying file.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.suffix in SAFETENSORS:
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return TensorFile(_read_pickle(path), {})
    raise ModelError(f"{path}: weights are read from {', '.join(SAFETENSORS + PICKLES)}, not {path.suffix or 'this'}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `ModelError` where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _read_safetensors(path: Path) -> TensorFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return TensorFile(tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: torn, or not a safetensors file ({error}): get it again") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        if is_torchscript(path):
            return read_torchscript(path)
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors, and loading that could run code; or it is torn"
        raise ModelError(f"{path}: refused: {reason}. Convert it to safetensors where you trust it") from error
    except Exception as error:  # damaged bytes make the unpickler fail in any way it can
        raise ModelError(f"{path}: torn, or not a torch checkpoint ({_first_line(error)}): get it again") from error
    if isinstance(held, dict) and isinstance(means := held.get(_MEANS), dict) and means:
        held = next(iter(means.values()))
    for wrapper in _WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    if not isinstance(held, dict) or not held or not all(isinstance(value, Tensor) for value in held.values()):
        raise ModelError(f"{path}: expected tensors by name, or those under one of {', '.join(_WRAPPERS)}")
    return {str(name): value for name, value in held.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
