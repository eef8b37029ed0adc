"""What can be evaluated: anything that turns frames into a code of so many bits, and the code into frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.io import to_float, to_uint8
from vidlatent.streaming import H, Plan, T

_LATENT_FRAMES = 4
_SLAB_PIXELS = 2**22
_STORED_BITS = 16


@dataclass(frozen=True)
class Shape:
    """Frames, rows and columns of a clip."""

    frames: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Pixels of the whole clip."""
        return self.frames * self.height * self.width


@dataclass(frozen=True)
class Code:
    """A coded clip: `latents` (1, C, t, h, w) of those that have any, `payload` of the others.

    `seconds` is what coding alone took, of those that search for their setting first.
    """

    shape: Shape
    values: int
    bits: float
    latents: Tensor | None = None
    payload: Any = None
    note: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Grid:
    """How latents lie over the clip, for what is measured at positions and borders."""

    group: int
    first_frame: Literal["single", "grouped"]
    borders: tuple[int | None, int | None, int | None]
    first_frames: int
    grain: tuple[int, int, int] = (1, 1, 1)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Candidate(Protocol):
    """A model or a baseline."""

    grid: Grid | None

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        """Take in a clip as runs of frames, uint8 (T, H, W, 3)."""
        ...

    def decode(self, code: Code) -> Iterator[Tensor]:
        """Give the clip back as runs of frames, uint8 (T, H, W, 3)."""
        ...


class Model:
    """An autoencoder, streamed in slabs: within `memory`, else four latent frames at a time."""

    def __init__(self, ae: Autoencoder, memory: int | str | None, size: tuple[int, int]) -> None:
        self.ae, self._memory, spec = ae, memory, ae.latent_spec
        self._plans = {direction: self._plan(direction, size) for direction in ("encode", "decode")}
        plan = self._plans["decode"]
        self.grid: Grid | None = Grid(
            group=spec.stride[0],
            first_frame=spec.first_frame,
            borders=(
                plan.chunk * spec.stride[0] if T in plan.axes else None,
                plan.strip * spec.stride[1] if H in plan.axes else None,
                None,
            ),
            first_frames=spec.num_frames(plan.chunk) if T in plan.axes else 0,
            grain=spec.stride,  # between latents the error changes more than within, cut or not
            # Statistics that change over latent frames are not per channel.
            mean=spec.mean if len(spec.mean) == spec.channels else (),
            std=spec.std if len(spec.std) == spec.channels else (),
        )

    def _plan(self, direction: Any, size: tuple[int, int]) -> Plan:
        spec = self.ae.latent_spec
        if self._memory is not None:
            grid = spec.latent_size(*size)
            shape = (1, 3, 1 << 20, *size) if direction == "encode" else (1, spec.channels, 1 << 20, *grid)
            return self.ae.plan(shape, self._memory, direction, streaming=True)
        latent_frames = max(1, min(_LATENT_FRAMES, _SLAB_PIXELS // (spec.stride[0] * size[0] * size[1])))
        return Plan((T,), chunk=latent_frames * (spec.stride[0] if direction == "encode" else 1))

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        stream, parts = self.ae.stream_encoder(plan=self._plans["encode"]), []
        for slab in frames:
            parts.append(stream.push(to_float(slab))[:, : self.ae.latent_spec.channels].cpu())
        parts += [moments[:, : self.ae.latent_spec.channels].cpu() for moments in stream.drain()]
        latents = torch.cat([part for part in parts if part.shape[2]], 2).float()
        return Code(shape, latents.numel(), latents.numel() * _STORED_BITS, latents)

    def decode(self, code: Code) -> Iterator[Tensor]:
        assert code.latents is not None
        plan = self._plans["decode"]
        stream = self.ae.stream_decoder(plan=plan, size=(code.shape.height, code.shape.width))
        slabs = code.latents.split(plan.chunk or code.latents.shape[2], 2)
        yield from (to_uint8(video.cpu()) for video in stream.frames(slabs, code.shape.frames))
