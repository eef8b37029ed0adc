"""Getting the autoencoder that a verb was asked to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vidlatent.errors import InputError

if TYPE_CHECKING:
    from vidlatent.autoencoders import Autoencoder


def load_autoencoder(name: str, device: str) -> Autoencoder:
    """Load a model by name or path. Raises `ModelError` for a name that is none, `InputError` for a missing device."""
    import torch

    import vidlatent

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not available here ({str(error).splitlines()[0]})") from error
    return vidlatent.load(name, device=device)


def stored_name(name: str) -> str:
    """What a latent file keeps of a model's name: a path in full, so that it is found from elsewhere."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def preset_without_weights(name: str) -> Autoencoder:
    """A catalogue model on the meta device: its shapes, for counting."""
    from vidlatent.autoencoders.catalog import CATALOG
    from vidlatent.autoencoders.families import without_weights

    return without_weights(CATALOG[name].family, CATALOG[name].config)


def packaged_weights(name: str) -> bool:
    """Whether a catalogue model's weights come with the package."""
    from vidlatent.autoencoders.catalog import CATALOG
    from vidlatent.autoencoders.loading import PACKAGED

    return (PACKAGED / CATALOG[name].family / "weights" / f"{name}.safetensors").is_file()
