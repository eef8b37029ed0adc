"""One way to any autoencoder with weights, wherever they are."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.checkpoint import is_checkpoint, load_checkpoint, open_checkpoint
from vidlatent.autoencoders.diffusers_format import (
    Described,
    adapter,
    best_links,
    find_folder,
    load_published,
    read_config,
    read_weights,
)
from vidlatent.autoencoders.families import FAMILIES, without_weights
from vidlatent.autoencoders.hub import fetch
from vidlatent.autoencoders.tensor_files import PICKLES, SAFETENSORS, TensorFile, read_tensor_file
from vidlatent.errors import ModelError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
PACKAGED = Path(__file__).parent


def load(
    name_or_path: str | Path,
    *,
    subfolder: str | None = None,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Autoencoder:
    """Load an autoencoder with its weights, ready to use.

    `name_or_path` is a catalogue name, a checkpoint file (ours, or an original one of a published model), a folder in
    diffusers format (a pipeline's `vae` is found), or a hub id; `subfolder` says where in a folder or repository.
    `weights` is a file to take the weights from instead: safetensors, or .pth/.pt that hold tensors only.
    Raises `ModelError` that names the file, the key or the name that is wrong, and what is allowed.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if subfolder and (name in CATALOG or path.is_file()):
        raise ModelError(f"{name} has no folders inside: leave subfolder={subfolder!r} away")
    file = None if weights is None else read_tensor_file(weights)
    if name in CATALOG:
        return _load_preset(name, file, weights, device, dtype)
    if path.is_file():
        if file is not None:
            raise ModelError(f"{path} is a weight file already: give a model's name or folder together with weights=")
        return _load_file(path, device, dtype)
    if path.is_dir():
        folder = find_folder(path, subfolder)
    elif _HUB_ID.fullmatch(name) and path.suffix not in SAFETENSORS + PICKLES:
        folder = fetch(name, subfolder, with_weights=file is None)
    else:
        raise ModelError(f"{name}: no such file or folder, and no model of that name; there are {', '.join(CATALOG)}")
    tensors = read_weights(folder) if file is None else file.tensors
    return load_published(read_config(folder), tensors, weights or folder, device=device, dtype=dtype)


def _load_preset(
    name: str, file: TensorFile | None, source: object, device: torch.device | str, dtype: torch.dtype
) -> Autoencoder:
    entry = CATALOG[name]
    if file is None:
        packaged = PACKAGED / entry.family / "weights" / f"{name}.safetensors"
        if not packaged.is_file():
            raise ModelError(
                f"{name} has no weights in the package: load its hub id or folder, give weights=<its checkpoint>, or "
                f"use build({name!r}) for random weights"
            )
        return load_checkpoint(packaged, device=device, dtype=dtype)
    if not is_checkpoint(file):
        return load_published(Described(entry.family, entry.config), file.tensors, source, device=device, dtype=dtype)
    ae = open_checkpoint(file, source, device=device, dtype=dtype)
    if ae.family != entry.family:
        raise ModelError(f"{source} is of family {ae.family!r}, {name} of {entry.family!r}")
    return ae


def _load_file(path: Path, device: torch.device | str, dtype: torch.dtype) -> Autoencoder:
    """A file alone: ours says what it is; an original checkpoint is known by its keys and shapes."""
    file = read_tensor_file(path)
    if is_checkpoint(file):
        return open_checkpoint(file, path, device=device, dtype=dtype)
    presets = {name: entry for name, entry in CATALOG.items() if FAMILIES[entry.family].published}
    fitting = {}
    for name, entry in presets.items():
        _, weights = adapter(entry.family).unpack(file.tensors)
        links = best_links(without_weights(entry.family, entry.config), weights)
        if {link.theirs: link.their_shape for link in links} == {key: tuple(t.shape) for key, t in weights.items()}:
            fitting[name] = Described(entry.family, entry.config)
    if len({described.config for described in fitting.values()}) > 1:
        raise ModelError(
            f"{path}: a weight file without a configuration, and its tensors are those of {', '.join(fitting)}, which "
            f"differ in other ways: load one of these names, with weights={str(path)!r}"
        )
    for described in fitting.values():
        return load_published(described, file.tensors, path, device=device, dtype=dtype)
    raise ModelError(
        f"{path}: a weight file without a configuration, and its {len(file.tensors)} tensors are those of none of "
        f"{', '.join(presets)}: load the model's folder or name, with weights={str(path)!r}"
    )
