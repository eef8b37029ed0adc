"""A model as one safetensors file: weights, and in its header the configuration and where it comes from, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vidlatent.diffusion.dit import VideoDiT, VideoDiTConfig
from vidlatent.errors import ModelError

_FORMAT = "vidlatent.VideoDiT.1"


def save_model(
    dit: VideoDiT,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model to `path`, whole or not at all.

    `metadata` is anything JSON can say (default: the model's own), for example the autoencoder's name and fingerprint.
    `weights` replaces the model's own, for example by their moving average.
    """
    header = {
        "format": _FORMAT,
        "config": dit.config.model_dump_json(),
        "metadata": json.dumps(dict(dit.metadata if metadata is None else metadata)),
    }
    return write_tensors(path, dit.state_dict() if weights is None else weights, header)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write a safetensors file to `path`, whole or not at all."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part, dict(header))
        part.chmod(0o644)  # safetensors makes files for their owner alone
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load_model(path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> VideoDiT:
    """Read what `save_model` wrote, in evaluation mode; `dit.metadata` is what it recorded.

    `dtype` None keeps the type of the file's weights. Raises `ModelError` for a missing, torn or foreign file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: torn, or not a safetensors file ({error}): get it again") from error
    if header.get("format") != _FORMAT:
        raise ModelError(f"{path}: not a diffusion model of vidlatent: its header says format={header.get('format')!r}")
    try:
        dit = VideoDiT(VideoDiTConfig.model_validate_json(header["config"]))
        dit.metadata = json.loads(header["metadata"])
        dit.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    except (ValidationError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: weights and configuration do not fit: {error}") from error
    return dit.to(device, dtype).eval()
