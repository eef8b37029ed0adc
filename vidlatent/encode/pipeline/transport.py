"""Frames from a decoder's process by shared memory; all else, and word of what lies there, by a pipe.

The memory is a ring without a name: nothing of it is left when either side is killed. A decoder writes pieces and
announces each; the receiver copies them out and acknowledges their bytes. A full ring makes the decoder wait, which is
how a slow model slows decoding down.
"""

from __future__ import annotations

import ctypes
from collections import deque
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidlatent.encode.pipeline.cutting import Event, Frames

RING_BYTES = 32 * 2**20
_PIECE_BYTES = RING_BYTES // 4


def new_ring(context: BaseContext) -> Any:
    """Shared bytes that can be given to a process when it starts."""
    return context.RawArray(ctypes.c_ubyte, RING_BYTES)


class _Piece(NamedTuple):
    """So many bytes lie in the ring; the first piece of a run of frames says of which shape and times."""

    num_bytes: int
    shape: tuple[int, ...] | None = None
    times: tuple[tuple[int, int], ...] = ()


class Outlet:
    """The decoder's end."""

    def __init__(self, connection: Connection, ring: Any) -> None:
        self._connection, self._ring = connection, np.frombuffer(ring, np.uint8)
        self._head, self._free = 0, len(self._ring)
        self._tasks: deque[Any] = deque()

    def next_task(self) -> Any:
        """What to do next; None is the end."""
        while not self._tasks:
            self._hear()
        return self._tasks.popleft()

    def send(self, message: Any) -> None:
        """Anything but frames."""
        self._connection.send(message)

    def give(self, event: Event) -> None:
        """An event of a clip, its frames by the ring."""
        if not isinstance(event, Frames):
            self.send(event)
            return
        pixels = event.frames.contiguous().numpy().reshape(-1)
        times = [(time.numerator, time.denominator) for time in event.times]
        head: tuple[Any, ...] = (tuple(event.frames.shape), times)  # goes with the first piece
        done = 0
        while done < len(pixels):
            while not self._free:
                self._hear()
            size = min(self._free, len(pixels) - done, len(self._ring) - self._head, _PIECE_BYTES)
            self._ring[self._head : self._head + size] = pixels[done : done + size]
            self.send(_Piece(size, *head))
            head = ()
            done += size
            self._head = (self._head + size) % len(self._ring)
            self._free -= size

    def _hear(self) -> None:
        message = self._connection.recv()
        if isinstance(message, int):
            self._free += message
        else:
            self._tasks.append(message)


class Inlet:
    """The receiver's end. Raises `EOFError` or `OSError` when the decoder's process is gone."""

    def __init__(self, connection: Connection, ring: Any) -> None:
        self.connection, self._ring = connection, np.frombuffer(ring, np.uint8)
        self._tail = self._done = 0
        self._frames: Tensor | None = None
        self._pixels = np.empty(0, np.uint8)
        self._times: tuple[Fraction, ...] = ()

    def send(self, task: Any) -> None:
        """Something to do, None for the end."""
        self.connection.send(task)

    def receive(self) -> Any:
        """The next message, an event among them; None while frames are still under way."""
        message = self.connection.recv()
        return self._take(message) if isinstance(message, _Piece) else message

    def _take(self, piece: _Piece) -> Frames | None:
        if piece.shape is not None:
            self._frames = torch.empty(piece.shape, dtype=torch.uint8)
            self._pixels, self._done = self._frames.numpy().reshape(-1), 0
            self._times = tuple(Fraction(*time) for time in piece.times)
        size = piece.num_bytes
        self._pixels[self._done : self._done + size] = self._ring[self._tail : self._tail + size]
        self._done += size
        self._tail = (self._tail + size) % len(self._ring)
        self.connection.send(size)
        if self._done < len(self._pixels) or self._frames is None:
            return None
        frames, self._frames = self._frames, None
        self._pixels = np.empty(0, np.uint8)
        return Frames(frames, self._times)
