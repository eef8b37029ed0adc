"""Ask what a memory budget means for an autoencoder, before any video is at hand."""

from __future__ import annotations

import torch

from vidlatent.autoencoders.base import Autoencoder, Direction
from vidlatent.streaming import Plan


def plan(
    ae: Autoencoder,
    *,
    frames: int,
    height: int,
    width: int,
    memory: int | str,
    direction: Direction = "encode",
    dtype: torch.dtype | None = None,
    batch: int = 1,
) -> Plan:
    """How `ae` encodes or decodes a video of `frames` x `height` x `width` within `memory` ("6GiB" or bytes).

    The sizes are the video's in both directions. `dtype` defaults to the autoencoder's. Raises `BudgetTooSmall`, which
    names the smallest budget that would do.
    """
    if dtype not in (None, ae.dtype):
        raise ValueError(f"dtype={dtype}: move the autoencoder to it first, ae.to({dtype})")
    if direction == "encode":
        return ae.plan((batch, 3, frames, height, width), memory, direction)
    spec = ae.latent_spec
    shape = (batch, spec.channels, spec.num_latent_frames(frames), *spec.latent_size(height, width))
    return ae.plan(shape, memory, direction)
