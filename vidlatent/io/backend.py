"""What a backend gives: frames in the order they are shown, not yet converted, and what is wrong with the file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from torch import Tensor

from .clip import VideoSpec

Colour = Literal["exact", "fast"]


@dataclass(frozen=True)
class Shown:
    """A decoded frame: when it appears, how long it stays, and how to get its pixels.

    Args:
        pts_seconds: From the first shown frame of the file.
        duration_seconds: Until the next frame, as far as the file says.
        rgb: Gives uint8 (H, W, 3), upright. Called only for frames that are used: conversion costs as much as
            decoding does.
        damaged: The decoder had to invent part of it.
    """

    pts_seconds: Fraction
    duration_seconds: Fraction
    rgb: Callable[[], Tensor]
    damaged: bool = False


@dataclass(frozen=True)
class Damage:
    """Something that is missing or broken at a point of the file; the reason continues 'FILE: '."""

    reason: str
    pts_seconds: Fraction | None = None


class Reader(Protocol):
    """One open file."""

    spec: VideoSpec

    def frames(self, start_seconds: Fraction) -> Iterator[Shown | Damage]:
        """Yield frames in the order they are shown, from one that is on screen at `start_seconds` or earlier."""

    def close(self) -> None:
        """Free the decoder and the file; may be called twice."""
