"""What a run is, whichever engine runs it: a plain description that travels between processes and machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from vidlatent.autoencoders import Autoencoder, load
from vidlatent.encode.policy import ClipPolicy
from vidlatent.encode.sources import ClipRow, Source, open_source
from vidlatent.errors import InputError
from vidlatent.latents import DatasetSettings
from vidlatent.latents.dataset.catalog import agree
from vidlatent.latents.dataset.folder import open_folder
from vidlatent.latents.dataset.settings import DatasetKind, DatasetType

Precision = Literal["auto", "float32", "bfloat16"]

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class EncodeJob:
    """A source, an autoencoder and a folder for latents, with all that decides what these are.

    Args:
        sources: Paths or URLs; see `open_source`.
        out: Folder or URL of the dataset.
        model: Name or path that the autoencoder is loaded by.
        settings: Of the dataset.
        policy: How clips are cut.
        kind: As in `settings`.
        precision: What the autoencoder computes in, "float32" or "bfloat16".
        memory, batch: As for `ClipEncoder`.
        buffer_bytes: Decoded frames that wait for the model, at most.
        path_column, caption_column: Of tables.
        timeout_seconds: Longest wait for the next frames of a video.
        max_failures: Videos that may fail, of all workers together, or of each launched process; None is any number.
        retry_failed: Try again what failed in an earlier run.
        shard_bytes, commit_seconds: As for `DatasetWriter`.
    """

    sources: tuple[str, ...]
    out: str
    model: str
    settings: DatasetSettings
    policy: ClipPolicy = field(default_factory=ClipPolicy)
    kind: DatasetKind = "mean"
    precision: Precision = "float32"
    memory: int | str | None = None
    batch: int | None = None
    buffer_bytes: int = 2**28
    path_column: str = ""
    caption_column: str = ""
    timeout_seconds: float = 60.0
    max_failures: int | None = None
    retry_failed: bool = False
    shard_bytes: int = 2**30
    commit_seconds: float = 10.0

    def open(self) -> Source:
        """All of its sources as one. Raises `InputError` where one is none."""
        options = {"path_column": self.path_column, "caption_column": self.caption_column}
        found = [open_source(source, **options) for source in self.sources]
        counts = [source.num_rows for source in found]
        total = None if None in counts else sum(count for count in counts if count is not None)
        return Source(", ".join(source.kind for source in found), lambda: _chained(found), total)

    def begin(self) -> None:
        """Make the dataset, or find that it has these settings. Raises `LatentFileError` naming what differs."""
        agree(open_folder(self.out), self.settings)

    def autoencoder(self, device: str) -> Autoencoder:
        """Load the model onto a device. Raises `InputError` where it is not the one of the settings."""
        ae = load(self.model, device=device)
        if ae.fingerprint != self.settings.fingerprint:
            raise InputError(f"{self.model}: has changed since the run began: it is {ae.fingerprint} now")
        return self.prepared(ae, device)

    def prepared(self, ae: Autoencoder, device: str) -> Autoencoder:
        """An autoencoder on the device and in the type to compute with."""
        return ae.to(device, _TYPES[self.precision]).eval()

    def share(self, rank: int, world: int) -> Iterator[ClipRow]:
        """The rows of one worker among `world`: by hash, so that all of them agree without a word."""
        for row in self.open():
            if int(row.digest, 16) % world == rank:
                yield row


def _chained(sources: list[Source]) -> Iterator[ClipRow]:
    for source in sources:
        yield from source


def make_job(
    ae: Autoencoder,
    *,
    model: str,
    policy: ClipPolicy,
    kind: DatasetKind,
    dtype: DatasetType,
    precision: Precision,
    **rest: Any,
) -> EncodeJob:
    """A job with the settings that its dataset will have."""
    if kind == "moments" and not ae.has_logvar:
        kind = "mean"
    settings = DatasetSettings(
        fingerprint=ae.fingerprint,
        model=model,
        latent_spec=asdict(ae.latent_spec),
        kind=kind,
        dtype=dtype,
        recipe={"clips": policy.to_json(), "precision": precision, "colour": "fast"},
    )
    return EncodeJob(model=model, settings=settings, policy=policy, kind=kind, precision=precision, **rest)
