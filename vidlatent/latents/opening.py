"""One way to open whatever holds latents."""

from __future__ import annotations

import os
from pathlib import Path

from vidlatent.latents.clip import LatentClip
from vidlatent.latents.dataset.reader import LatentDataset
from vidlatent.latents.dataset.transform import Normalize, Posterior


def open_latents(
    path: str | os.PathLike[str], *, normalize: Normalize | None = None, posterior: Posterior = "mode"
) -> LatentClip | LatentDataset:
    """Open a clip's latent file, or a dataset of latents, for reading; no latents are read yet.

    Args:
        path: A file; or a folder or URL, which is a dataset.
        normalize, posterior: Of a dataset: see `LatentDataset`. A `LatentClip` gives what is stored.

    Raises:
        LatentFileError: Nothing is there; not latents, or of a later version; cut off or never finished.
        InputError: What is asked of the dataset is not to be had.
    """
    if "://" in os.fspath(path) or Path(path).is_dir():
        return LatentDataset(path, normalize=normalize, posterior=posterior)
    return LatentClip(path)
