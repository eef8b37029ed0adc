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
    "autoencoders": "Autoencoder LatentSpec Posterior build load models plan",
    "errors": "BudgetTooSmall InputError LatentFileError MissingDependency ModelError VideoError VidlatentError",
    "io": "Clip VideoSource VideoWriter open_video to_float to_uint8 write_video",
    "latents": "LatentClip LatentDataset LatentWriter open_latents",
    "streaming": "Plan",
}
_ROOMS = (
    "autoencoders",
    "diffusion",
    "encode",
    "errors",
    "evaluate",
    "integrations",
    "io",
    "latents",
    "metrics",
    "nn",
    "quantize",
    "streaming",
    "testing",
    "train",
)
_OWNERS = {name: room for room, names in _HOMES.items() for name in names.split()}

if TYPE_CHECKING:
    from vidlatent import autoencoders as autoencoders
    from vidlatent import diffusion as diffusion
    from vidlatent import encode as encode
    from vidlatent import errors as errors
    from vidlatent import io as io
    from vidlatent import latents as latents
    from vidlatent import metrics as metrics
    from vidlatent import nn as nn
    from vidlatent import streaming as streaming
    from vidlatent import testing as testing
    from vidlatent.autoencoders import Autoencoder as Autoencoder
    from vidlatent.autoencoders import LatentSpec as LatentSpec
    from vidlatent.autoencoders import Posterior as Posterior
    from vidlatent.autoencoders import build as build
    from vidlatent.autoencoders import load as load
    from vidlatent.autoencoders import models as models
    from vidlatent.autoencoders import plan as plan
    from vidlatent.errors import BudgetTooSmall as BudgetTooSmall
    from vidlatent.errors import InputError as InputError
    from vidlatent.errors import LatentFileError as LatentFileError
    from vidlatent.errors import MissingDependency as MissingDependency
    from vidlatent.errors import ModelError as ModelError
    from vidlatent.errors import VideoError as VideoError
    from vidlatent.errors import VidlatentError as VidlatentError
    from vidlatent.io import Clip as Clip
    from vidlatent.io import VideoSource as VideoSource
    from vidlatent.io import VideoWriter as VideoWriter
    from vidlatent.io import open_video as open_video
    from vidlatent.io import to_float as to_float
    from vidlatent.io import to_uint8 as to_uint8
    from vidlatent.io import write_video as write_video
    from vidlatent.latents import LatentClip as LatentClip
    from vidlatent.latents import LatentDataset as LatentDataset
    from vidlatent.latents import LatentWriter as LatentWriter
    from vidlatent.latents import open_latents as open_latents
    from vidlatent.streaming import Plan as Plan


def __getattr__(name: str) -> Any:
    if name in _OWNERS:
        return getattr(importlib.import_module(f"vidlatent.{_OWNERS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"vidlatent.{name}")
    raise AttributeError(f"module 'vidlatent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OWNERS, *_ROOMS})
