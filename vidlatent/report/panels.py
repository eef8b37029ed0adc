"""Original, reconstruction and amplified error side by side, with a caption above each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

_MAX_WIDTH = 3840
_GAP = 4
_BACKGROUND = 24


class Panels:
    """Makes frames of three panels, of one size that every player takes: even, and no wider than 3840 pixels.

    Args:
        size: (H, W) of the clip.
        captions: Above original, reconstruction and error.
        error_gain: What the error's absolute value is multiplied by; no error is black.
    """

    def __init__(self, *, size: tuple[int, int], captions: Sequence[str], error_gain: int = 8) -> None:
        height, width = size
        self.gain, self.captions = error_gain, tuple(captions)
        shrink = min(1.0, (_MAX_WIDTH - 2 * _GAP) / (3 * width))
        self._panel = max(1, int(height * shrink)), max(1, int(width * shrink))
        rows, columns = self._panel
        self._caption_rows = max(16, min(40, columns // 16))
        total = self._caption_rows + rows, 3 * columns + 2 * _GAP
        self._size = total[0] + total[0] % 2, total[1] + total[1] % 2
        self._canvas = torch.full((*self._size, 3), _BACKGROUND, dtype=torch.uint8)
        for index, caption in enumerate(captions):
            left = index * (columns + _GAP)
            self._canvas[: self._caption_rows, left : left + columns] = _caption(caption, self._caption_rows, columns)

    @property
    def layout(self) -> dict[str, int]:
        """Where a panel lies in a frame: its size, the rows above it, the columns between two."""
        return {"width": self._panel[1], "height": self._panel[0], "top": self._caption_rows, "gap": _GAP}

    def compose(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Frames of three panels, uint8 (T, h, w, 3), from two runs of frames, uint8 (T, H, W, 3)."""
        error = (original.to(torch.int16) - reconstruction).abs().mul_(self.gain).clamp_(max=255).to(torch.uint8)
        frames = self._canvas.repeat(len(original), 1, 1, 1)
        rows, columns = self._panel
        for index, panel in enumerate((original, reconstruction, error)):
            left = index * (columns + _GAP)
            area = frames[:, self._caption_rows : self._caption_rows + rows, left : left + columns]
            area.copy_(self._fitted(panel))
        return frames

    def _fitted(self, frames: Tensor) -> Tensor:
        if tuple(frames.shape[1:3]) == self._panel:
            return frames
        planes = [interpolate(f.permute(2, 0, 1)[None].float(), self._panel, mode="area") for f in frames]
        return torch.cat(planes).round_().to(torch.uint8).permute(0, 2, 3, 1)


def _caption(text: str, rows: int, columns: int) -> Tensor:
    """A strip of light text on the background, uint8 (rows, columns, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (columns, rows), (_BACKGROUND,) * 3)
    font = ImageFont.load_default(size=rows * 0.55)
    ImageDraw.Draw(image).text((rows // 4, rows // 2), text, fill=(235, 235, 235), font=font, anchor="lm")
    return torch.from_numpy(np.array(image))
