"""A model as one safetensors file: weights, and in its header the configuration and where it comes from, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vidlatent.diffusion.dit import VideoDiT, VideoDiTConfig
from vidlatent.errors import ModelError
from vidlatent.files import write_tensors

_FORMAT = "vidlatent.VideoDiT.1"
Model = TypeVar("Model", bound=nn.Module)


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


def load_model(path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> VideoDiT:
    """Read what `save_model` wrote, in evaluation mode; `dit.metadata` is what it recorded.

    `dtype` None keeps the type of the file's weights. Raises `ModelError` for a missing, torn or foreign file.
    """

    def build(header: Mapping[str, str]) -> VideoDiT:
        dit = VideoDiT(VideoDiTConfig.model_validate_json(header["config"]))
        dit.metadata = json.loads(header["metadata"])
        return dit

    return read_model(path, build, form=_FORMAT, what="diffusion model").to(device, dtype)


def read_model(path: str | Path, build: Callable[[Mapping[str, str]], Model], *, form: str, what: str) -> Model:
    """What `build` makes of a file's header, with the file's weights in their type, in evaluation mode.

    `form` is what the header must call its format. Raises `ModelError` for a missing, torn or foreign file.
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
    if header.get("format") != form:
        raise ModelError(f"{path}: not a {what} of vidlatent: its header says format={header.get('format')!r}")
    try:
        model = build(header)
        model.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    except (ValidationError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: weights and configuration do not fit: {error}") from error
    return model.eval()
