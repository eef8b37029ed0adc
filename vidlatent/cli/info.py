"""`vidlatent info`: what a file or a name is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidlatent.cli.options import AsJson, Debug
from vidlatent.cli.terminal import terminal
from vidlatent.errors import InputError, LatentFileError

if TYPE_CHECKING:
    from rich.table import Table

_DATASET = "dataset.json"
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")


def info(
    thing: Annotated[
        str,
        typer.Argument(help="A clip, a latent file or dataset, a model's name, folder or file.", metavar="THING"),
    ],
    verify: Annotated[bool, typer.Option("--verify", help="Compare a latent file with its checksum.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a clip, a latent file, a latent dataset or a model is."""
    terminal.configure(as_json=as_json, debug=debug)
    path = Path(thing)
    if "://" in thing or (path / _DATASET).exists():
        record, table = _dataset(thing)
    elif not path.exists():
        record, table = _named_model(thing)
    elif path.is_dir():
        record, table = _stored_model(thing)
    elif path.suffix.lower() in _WEIGHTS or _begins_like_safetensors(path):
        record, table = _tensors(path, verify=verify)
    else:
        record, table = _clip(path)
    terminal.result(record, table)


def _dataset(directory: str) -> tuple[dict[str, Any], Table]:
    from vidlatent.cli.describe_dataset import dataset_record, dataset_table
    from vidlatent.latents import LatentDataset

    record = dataset_record(LatentDataset(directory))
    return record, dataset_table(record)


def _clip(path: Path) -> tuple[dict[str, Any], Table]:
    from vidlatent.cli.describe import clip_record, clip_table
    from vidlatent.io import open_video

    with open_video(path) as source:
        size = path.stat().st_size
        return clip_record(source.spec, size), clip_table(source.spec, size)


def _tensors(path: Path, *, verify: bool) -> tuple[dict[str, Any], Table]:
    """A file of tensors: latents if it says so, weights otherwise."""
    from vidlatent.cli.describe import latent_record, latent_table
    from vidlatent.latents import LatentClip
    from vidlatent.latents.layout import claims_latents

    if not claims_latents(path):
        try:
            return _stored_model(str(path))
        except InputError as error:
            raise LatentFileError(f"{path}: neither latents nor a model: {error}") from error
    with LatentClip(path) as clip:
        if verify:
            clip.verify()
        record = latent_record(clip)
    return record, latent_table(record)


def _named_model(name: str) -> tuple[dict[str, Any], Table]:
    import vidlatent
    from vidlatent.cli.describe import model_record, model_table
    from vidlatent.cli.loading import preset_without_weights

    if name not in vidlatent.models():
        known = ", ".join(vidlatent.models())
        raise InputError(f"{name}: no such file or folder, and no model of that name; there are {known}")
    record = model_record(preset_without_weights(name), name)
    return record, model_table(record)


def _stored_model(path: str) -> tuple[dict[str, Any], Table]:
    import vidlatent
    from vidlatent.cli.describe import model_record, model_table

    ae = vidlatent.load(path)
    record = model_record(ae, path) | {"fingerprint": ae.fingerprint}
    return record, model_table(record)


def _begins_like_safetensors(path: Path) -> bool:
    """Eight bytes of length and an opening brace: a latent file under another name."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**27
