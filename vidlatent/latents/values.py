"""Latent values as they are stored: their type, what it can hold, and eight bits with two numbers per channel.

int8:  x ~ codes * scale + offset,  scale = (max - min) / 254,  offset = (max + min) / 2  over (t, h, w)
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.errors import InputError

TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}

_INT8_MAX = 127


def frames_first(latents: Tensor, channels: int) -> Tensor:
    """Bring latents (1, C, t, h, w) or (t, C, h, w) to (t, C, h, w).

    Raises:
        InputError: Another shape, or not floating point.
    """
    given = f"{latents.dtype} {tuple(latents.shape)}"
    if latents.ndim == 5 and latents.shape[0] == 1:
        latents = latents[0].transpose(0, 1)
    if latents.ndim != 4 or latents.shape[1] != channels or not latents.is_floating_point():
        raise InputError(f"latents are (1, {channels}, t, h, w) or (t, {channels}, h, w) floating point, got {given}")
    return latents


def to_stored(frames: Tensor, dtype: str, *, where: str) -> Tensor:
    """Frames in a stored floating type, contiguous on the host.

    Raises:
        InputError: A value is not finite in that type; the message begins with `where`.
    """
    stored = frames.detach().to("cpu", TYPES[dtype])
    if not torch.isfinite(stored).all():
        wide = bool(torch.isfinite(frames).all())
        why = f"too large for {dtype}: store float32 or bfloat16" if wide else "NaN or infinite"
        raise InputError(f"{where} holds values {why}")
    return stored.contiguous()


def to_codes(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round finite frames (t, C, h, w) to int8 codes of the same shape, with scale (C,) and offset (C,) in float32."""
    low, high = frames.float().amin((0, 2, 3)), frames.float().amax((0, 2, 3))
    scale, offset = (high / 2 - low / 2) / _INT8_MAX, high / 2 + low / 2  # halved first: the sum may overflow
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = (frames.float() - _column(offset)).div_(_column(scale)).round_().clamp_(-_INT8_MAX, _INT8_MAX)
    return codes.to(torch.int8).contiguous(), scale, offset


def from_codes(codes: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Float32 frames of int8 codes (t, C, h, w)."""
    return codes.float().mul_(_column(scale)).add_(_column(offset))


def as_read(frames: Tensor, dtype: str) -> Tensor:
    """What comes back of frames (t, C, h, w) stored as `dtype`, any of "float32", "float16", "bfloat16", "int8"."""
    return from_codes(*to_codes(frames)) if dtype == "int8" else frames.to(TYPES[dtype])


def _column(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
