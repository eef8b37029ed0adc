"""Compress video into latents and back, in bounded memory, exactly.

    import vidlatent as vl

    ae = vl.load("vidlatent-tiny")
    with vl.open_video("clip.mp4") as source:
        ...

Names are imported when first used: `import vidlatent` itself needs torch and little else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "autoencoders": ["Autoencoder", "LatentSpec", "Posterior", "build", "load", "models", "plan"],
    "errors": ["BudgetTooSmall", "InputError", "LatentFileError", "MissingDependency", "ModelError"]
    + ["VideoError", "VidlatentError"],
    "io": ["Clip", "VideoSource", "VideoWriter", "open_video", "to_float", "to_uint8", "write_video"],
    "latents": ["LatentClip", "LatentWriter", "open_latents"],
    "streaming": ["Plan"],
}
_ROOMS = ["autoencoders", "errors", "io", "latents", "metrics", "nn", "streaming", "testing"]
_OWNERS = {name: room for room, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_OWNERS), *_ROOMS]  # noqa: PLE0604 - the lists above are the names

if TYPE_CHECKING:
    from vidlatent import autoencoders, errors, io, latents, metrics, nn, streaming, testing
    from vidlatent.autoencoders import Autoencoder, LatentSpec, Posterior, build, load, models, plan
    from vidlatent.errors import BudgetTooSmall, InputError, LatentFileError, MissingDependency, ModelError
    from vidlatent.errors import VideoError, VidlatentError
    from vidlatent.io import Clip, VideoSource, VideoWriter, open_video, to_float, to_uint8, write_video
    from vidlatent.latents import LatentClip, LatentWriter, open_latents
    from vidlatent.streaming import Plan


def __getattr__(name: str) -> Any:
    if name in _OWNERS:
        return getattr(importlib.import_module(f"vidlatent.{_OWNERS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"vidlatent.{name}")
    raise AttributeError(f"module 'vidlatent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
