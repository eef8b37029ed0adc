"""A few evenly spaced pictures of a clip whose length is not known beforehand."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor

_MAX_WIDTH = 1600


class Stills:
    """Keeps between `count` and twice as many frames, evenly spaced, as JPEG; memory does not grow with the clip.

    Every second one is dropped when there are too many, and from then on only every second is taken.
    """

    def __init__(self, *, count: int) -> None:
        self._count, self._step, self._seen = count, 1, 0
        self._kept: list[tuple[int, bytes]] = []

    def add(self, frames: Tensor) -> None:
        """Look at the next frames, uint8 (T, H, W, 3)."""
        for frame in frames:
            if self._seen % self._step == 0:
                self._kept.append((self._seen, _jpeg(frame)))
            self._seen += 1
            if len(self._kept) == 2 * self._count:
                self._step *= 2
                self._kept = [(index, data) for index, data in self._kept if index % self._step == 0]

    def chosen(self) -> list[tuple[int, bytes]]:
        """At most `count` of them, first to last, as (frame number, JPEG)."""
        if len(self._kept) <= self._count:
            return list(self._kept)
        picks = torch.linspace(0, len(self._kept) - 1, self._count).round().int().tolist()
        return [self._kept[pick] for pick in picks]


def _jpeg(frame: Tensor) -> bytes:
    from PIL import Image

    image = Image.fromarray(frame.contiguous().numpy())
    image.thumbnail((_MAX_WIDTH, _MAX_WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def data_url(jpeg: bytes) -> str:
    """A picture as text that a page can hold."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
