"""Models as diffusers stores them: a folder with config.json and diffusion_pytorch_model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.families import FAMILIES, shapes_of, with_weights, without_weights
from vidlatent.autoencoders.links import Link, read_tensors
from vidlatent.autoencoders.published import Published
from vidlatent.autoencoders.tensor_files import read_json, read_tensor_file
from vidlatent.errors import ModelError
from vidlatent.files import write_tensors

CONFIG = "config.json"
PIPELINE = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = "diffusion_pytorch_model.safetensors.index.json"
SHARDS = "diffusion_pytorch_model-*-of-*.safetensors"


@dataclass(frozen=True)
class Described:
    """What a config.json says: which family, and which configuration of it."""

    family: str
    config: Any


def find_folder(root: Path, subfolder: str | None) -> Path:
    """The folder that holds the autoencoder: `subfolder`, or `root` itself, or the `vae` of a pipeline.

    Raises `ModelError` where there is no config.json.
    """
    folder = root / subfolder if subfolder else root
    if not subfolder and not (root / CONFIG).is_file() and (root / "vae" / CONFIG).is_file():
        folder = root / "vae"
    if not (folder / CONFIG).is_file():
        hint = f"; it is a pipeline without a vae: {sorted(p.name for p in root.iterdir() if p.is_dir())}"
        raise ModelError(f"{folder}: no {CONFIG} there{hint if (root / PIPELINE).is_file() else ''}")
    return folder


def read_config(folder: Path) -> Described:
    """What the folder's config.json describes. Raises `ModelError` for a class that no family here implements."""
    path = folder / CONFIG
    values = read_json(path)
    classes = {name: family.published.class_name for name, family in FAMILIES.items() if family.published}
    published = {class_name: name for name, class_name in classes.items() if class_name}
    class_name = values.get("_class_name")
    if class_name not in published:
        raise ModelError(f"{path}: _class_name is {class_name!r}; supported are {', '.join(published)}")
    family = published[class_name]
    return Described(family, adapter(family).read_config(values, path))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder, in one file or in the shards that its index lists."""
    if (folder / WEIGHTS).is_file():
        return read_tensor_file(folder / WEIGHTS).tensors
    if not (folder / INDEX).is_file():
        others = ", ".join(sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".safetensors", ".pth")))
        raise ModelError(
            f"{folder}: neither {WEIGHTS} nor {INDEX} there (found {others or 'no weights'}); give weights=<file>"
        )
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ModelError(f"{folder / INDEX}: weight_map must name a file for each key")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(shards.values())):
        if Path(name).name != name:  # an index must not reach outside its folder
            raise ModelError(f"{folder / INDEX}: {name!r} is not a file of this folder")
        tensors.update(read_tensor_file(folder / name).tensors)
    return tensors


def load_published(
    described: Described,
    tensors: Mapping[str, Tensor],
    source: object,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Autoencoder:
    """An autoencoder from foreign tensors, in diffusers' or in the authors' names."""
    fields, tensors = adapter(described.family).unpack(tensors)
    ae = without_weights(described.family, replace(described.config, **fields))
    shapes = shapes_of(ae)
    read = read_tensors(best_links(ae, tensors), tensors, shapes, source)
    return with_weights(ae, read, device=device, dtype=dtype)


def best_links(ae: Autoencoder, tensors: Mapping[str, Tensor]) -> list[Link]:
    """Links of the naming that most keys of `tensors` follow."""
    published, shapes = adapter(ae.family), shapes_of(ae)
    candidates = [published.links(ae.config, shapes, naming) for naming in published.namings]
    return max(candidates, key=lambda links: sum(link.theirs in tensors for link in links))


def save_pretrained(ae: Autoencoder, folder: str | Path) -> None:
    """Write `ae` as diffusers does, so that its `from_pretrained` loads it.

    Raises `ModelError` for a family that diffusers does not have.
    """
    published, folder = adapter(ae.family), Path(folder)
    config, state = published.write_config(ae.config), ae.state_dict()
    links = published.links(ae.config, shapes_of(ae), "diffusers")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {link.theirs: link.write(state[link.ours]) for link in links} | published.pack(ae.config)
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def adapter(family: str) -> Published:
    """How others store a family. Raises `ModelError` where nobody else has it."""
    published = FAMILIES[family].published
    if published is None:
        raise ModelError(f"family {family!r} exists in vidlatent only: use its own checkpoints (save_checkpoint)")
    return published
