"""One way to any autoencoder with weights, wherever they are."""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch

from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.catalog import CATALOG, nearest
from vidlatent.autoencoders.checkpoint import is_checkpoint, load_checkpoint, open_checkpoint
from vidlatent.autoencoders.diffusers_format import (
    CONFIG,
    INDEX,
    SHARDS,
    WEIGHTS,
    Described,
    adapter,
    find_folder,
    load_published,
    read_config,
    read_weights,
)
from vidlatent.autoencoders.families import FAMILIES, shapes_of, without_weights
from vidlatent.autoencoders.hub import fetch
from vidlatent.autoencoders.links import Shape
from vidlatent.autoencoders.tensor_files import PICKLES, SAFETENSORS, TensorFile, read_tensor_file
from vidlatent.errors import ModelError

_log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
PACKAGED = Path(__file__).parent


def load(
    name_or_path: str | Path,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Autoencoder:
    """Load an autoencoder with its weights, ready to use.

    `name_or_path` is a catalogue name, a checkpoint file (ours, or an original one of a published model), a folder in
    diffusers format (a pipeline's `vae` is found), or a hub id; `subfolder` says where in a folder or repository,
    `revision` which branch, tag or commit of a repository. `weights` is a file to take the weights from instead:
    safetensors, or .pth/.pt that hold tensors only.
    Raises `ModelError` that names the file, the key or the name that is wrong, and what is allowed.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if subfolder and (name in CATALOG or path.is_file()):
        raise ModelError(f"{name} has no folders inside: leave subfolder={subfolder!r} away")
    if revision and (name in CATALOG or path.exists()):
        raise ModelError(f"{name} is not on the hub: leave revision={revision!r} away")
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
        folder = fetch(name, subfolder, revision, with_weights=file is None)
    else:
        raise ModelError(f"{name}: no such file or folder, and no model of that name; {nearest(name)}")
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
    """A file alone: ours says what it is, and config.json beside it what one of diffusers is."""
    if path.match(SHARDS) and (path.parent / INDEX).is_file():
        raise ModelError(f"{path}: one shard of several: load its folder, {path.parent}")
    file = read_tensor_file(path)
    if is_checkpoint(file):
        return open_checkpoint(file, path, device=device, dtype=dtype)
    is_in_folder = path.name == WEIGHTS and (path.parent / CONFIG).is_file()
    described = read_config(path.parent) if is_in_folder else _recognised(path, file)
    return load_published(described, file.tensors, path, device=device, dtype=dtype)


def _recognised(path: Path, file: TensorFile) -> Described:
    """An original checkpoint is known by its keys and shapes; presets that share those by the file's name."""
    presets = {name: entry for name, entry in CATALOG.items() if FAMILIES[entry.family].published}
    fitting = {}
    for name, entry in presets.items():
        _, weights = adapter(entry.family).unpack(file.tensors)
        shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
        if shapes in _published_shapes(entry.family, entry.config):
            fitting[name] = Described(entry.family, entry.config)
    if not fitting:
        raise ModelError(
            f"{path}: a weight file without a configuration, and its {len(file.tensors)} tensors are those of no model "
            f"that `vidlatent models` lists: load the model's folder or name, with weights={str(path)!r}"
        )
    if len({described.config for described in fitting.values()}) > 1:
        raise ModelError(
            f"{path}: a weight file without a configuration, and its tensors are those of {', '.join(fitting)}, which "
            f"differ in other ways: load one of these names, with weights={str(path)!r}"
        )
    first = next(iter(fitting))
    if len({described.family for described in fitting.values()}) > 1:
        said = [name for name in fitting if name.split("-")[0] in path.name.lower()]
        first = said[0] if said else first
        if not said:
            others = ", ".join(name for name in fitting if name != first)
            _log.warning("%s is taken for %s; its tensors are those of %s as well: load a name", path, first, others)
    return fitting[first]


@cache
def _published_shapes(family: str, config: Any) -> list[dict[str, Shape]]:
    """Names and shapes of every tensor, for each naming that exists."""
    ae, published = without_weights(family, config), adapter(family)
    namings = (published.links(config, shapes_of(ae), naming) for naming in published.namings)
    return [{link.theirs: link.their_shape for link in links} for links in namings]
