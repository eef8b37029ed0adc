"""How much of a clip is worked on at once when it comes from a file, and how far along that is."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.base import Direction
from vidlatent.io import VideoSpec
from vidlatent.latents import ClipSource
from vidlatent.streaming import Plan, T

Progress = Callable[[int, int | None], None]
"""Called with the frames done so far, and all there will be where that is known."""

_LATENT_FRAMES = 4
_SLAB_PIXELS = 2**23
_ENDLESS = 2**20


def slab_plan(
    ae: Autoencoder, direction: Direction, size: tuple[int, int], memory: int | str | None, *, batch: int = 1
) -> Plan:
    """How frames of `size` (H, W) pixels are cut, whatever the clip's length; the plan's chunk is what to push at once.

    `batch` clips go side by side. With a budget, the thickest slabs that fit. Without, four latent frames' worth, fewer
    above 8 million pixels, at least one: thicker slabs are no faster. Raises `BudgetTooSmall`.
    """
    spec = ae.latent_spec
    grid = spec.latent_size(*size)
    if memory is not None:
        shape = (batch, 3, _ENDLESS, *size) if direction == "encode" else (batch, spec.channels, _ENDLESS, *grid)
        return ae.plan(shape, memory, direction, streaming=True)
    pixels = spec.stride[0] * size[0] * size[1]
    latent_frames = max(1, min(_LATENT_FRAMES, _SLAB_PIXELS // pixels))
    return Plan((T,), chunk=latent_frames * (spec.stride[0] if direction == "encode" else 1))


def expected_frames(spec: VideoSpec, window: ClipSource) -> int | None:
    """Frames that the part of a file named by `window` should have by what its header claims, None without a claim."""
    start, stop, fps = window.start_seconds, window.stop_seconds, window.fps
    if start is None and stop is None and fps is None and spec.num_frames:
        return spec.num_frames
    ends = [end for end in (spec.duration_seconds, stop) if end is not None]
    if not ends:
        return None
    return max(1, ceil((min(ends) - (start or 0)) * (fps or spec.fps)))
