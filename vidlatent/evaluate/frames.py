"""A clip as the protocol wants it, and two streams of frames side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.evaluate.protocol import Protocol
from vidlatent.io import open_video

CHUNK = 8


def read_frames(path: Path, protocol: Protocol) -> Iterator[Tensor]:
    """The first frames of a clip as runs of uint8 (T, H, W, 3).

    Raises `VideoError` for a clip that cannot be read, `InputError` for one that is shorter than the protocol's.
    """
    left, rate = protocol.frames, Fraction(protocol.fps) if protocol.fps else None
    with open_video(path, size=protocol.size, fps=rate, chunk_frames=CHUNK, num_threads=1) as source:
        for clip in source:
            frames = clip.frames[:left]
            left -= len(frames)
            yield frames
            if not left:
                return
    if left:
        raise InputError(f"{path.name} has {protocol.frames - left} frames, and the protocol takes {protocol.frames}")


def side_by_side(got: Iterable[Tensor], want: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Runs of frames of equal length from both, whatever runs they come in.

    Raises `InputError` where frames differ in size, or one has fewer of them.
    """
    wanted, held = iter(want), torch.empty(0)
    for given in got:
        while len(given):
            if not len(held):
                held = next(wanted, torch.empty(0))
            if not len(held):
                raise InputError("the reconstruction has more frames than the clip")
            if given.shape[1:] != held.shape[1:]:
                sizes = " and ".join(f"{f.shape[2]}x{f.shape[1]}" for f in (given, held))
                raise InputError(f"reconstruction and clip differ in size: {sizes}")
            count = min(len(given), len(held))
            yield given[:count], held[:count]
            given, held = given[count:], held[count:]
    if len(held) or next(wanted, None) is not None:
        raise InputError("the reconstruction has fewer frames than the clip")
