"""Our own checkpoints: one safetensors file that says what it is.

Its metadata are {"format": "vidlatent", "family": name, "config": JSON}, its tensors are named as our modules are.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.families import FAMILIES, shapes_of, with_weights, without_weights
from vidlatent.autoencoders.links import read_tensors, same
from vidlatent.autoencoders.published import parse_config
from vidlatent.autoencoders.tensor_files import TensorFile, read_tensor_file
from vidlatent.errors import ModelError
from vidlatent.files import write_tensors

FORMAT = "vidlatent"


def save_checkpoint(ae: Autoencoder, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write `ae` to one safetensors file, whole or not at all; `dtype` (bfloat16, say) makes it smaller on disk."""
    tensors = {name: tensor.to(dtype or tensor.dtype) for name, tensor in ae.state_dict().items()}
    config = json.dumps(asdict(ae.config))  # type: ignore[call-overload]
    write_tensors(path, tensors, {"format": FORMAT, "family": ae.family, "config": config})


def load_checkpoint(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Autoencoder:
    """Load what `save_checkpoint` wrote. Raises `ModelError` for any other or damaged file."""
    return open_checkpoint(read_tensor_file(path), path, device=device, dtype=dtype)


def open_checkpoint(file: TensorFile, source: object, *, device: torch.device | str, dtype: torch.dtype) -> Autoencoder:
    """The autoencoder in a file that is read already; `source` names it in errors."""
    if not is_checkpoint(file):
        raise ModelError(f"{source}: no vidlatent checkpoint: its metadata do not say format={FORMAT!r}")
    family = file.metadata.get("family", "")
    if family not in FAMILIES:
        raise ModelError(f"{source}: of family {family!r}; this version knows {', '.join(FAMILIES)}")
    try:
        values = json.loads(file.metadata.get("config", ""))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source}: its configuration is not readable ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{source}: its configuration is {type(values).__name__}, expected an object")
    ae = without_weights(family, parse_config(FAMILIES[family].config, values, source))
    shapes = shapes_of(ae)
    return with_weights(ae, read_tensors(same(shapes), file.tensors, shapes, source), device=device, dtype=dtype)


def is_checkpoint(file: TensorFile) -> bool:
    """Whether a file says that it is ours."""
    return file.metadata.get("format") == FORMAT
