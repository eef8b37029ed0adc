"""Turning a stored picture upright, and fitting it to a size."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidlatent.errors import InputError

Fit = Literal["crop", "stretch"]
Size = int | tuple[int, int]


@dataclass(frozen=True)
class Orientation:
    """How a player turns the stored picture: mirrored left to right first, then turned counter-clockwise."""

    rotation: int = 0
    mirrored: bool = False

    @classmethod
    def of_matrix(cls, a: float, b: float, c: float, d: float) -> "Orientation":
        """Read the 2x2 part of a display matrix, (x, y) -> (a x + c y, b x + d y) with y pointing down.

        Angles between the quarter turns go to the nearest one, as players do; a singular matrix turns nothing.
        """
        determinant = a * d - b * c
        if not determinant:
            return cls()
        mirrored = determinant < 0
        if mirrored:  # undo the mirroring of x, so that the rest is a rotation
            a, b = -a, -b
        clockwise = math.degrees(math.atan2(b, a))
        return cls(rotation=round(-clockwise / 90) * 90 % 360, mirrored=mirrored)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) after the turn."""
        return (width, height) if self.rotation % 180 else (height, width)

    def apply(self, frame: Tensor) -> Tensor:
        """Turn one frame (H, W, 3); a view, not a copy."""
        if self.mirrored:
            frame = frame.flip(1)
        return torch.rot90(frame, self.rotation // 90, (0, 1)) if self.rotation else frame


@dataclass(frozen=True)
class Resize:
    """Scale frames to a size, on RGB values, with PyTorch's antialiased bicubic kernel (a = -0.5, as Pillow's).

    RGB after decoding rather than planes while decoding: every backend and every stored pixel format then goes
    through the same arithmetic, and a still image resized by torchvision or Pillow agrees to a level.

    Args:
        size: (H, W), or one number for the shorter side with the aspect kept.
        fit: For (H, W): "crop" keeps the aspect, covers the size and cuts the excess off both sides equally;
            "stretch" does not keep it.
    """

    size: Size
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        sides = (self.size,) if isinstance(self.size, int) else tuple(self.size)
        wanted = 1 if isinstance(self.size, int) else 2
        if len(sides) != wanted or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
            raise InputError(f"size={self.size!r}: expected (height, width) or one shorter side, at least 1 pixel each")
        if self.fit not in ("crop", "stretch"):
            raise InputError(f"fit={self.fit!r}: expected 'crop' or 'stretch'")

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that a frame of this size becomes."""
        if not isinstance(self.size, int):
            return self.size[0], self.size[1]
        shorter = min(height, width)
        return _scaled(height, self.size, shorter), _scaled(width, self.size, shorter)

    def apply(self, frame: Tensor) -> Tensor:
        """Fit one frame, uint8 (H, W, 3)."""
        height, width = frame.shape[:2]
        H, W = self.output_size(height, width)
        if (height, width) == (H, W):
            return frame
        inner = (H, W)
        if self.fit == "crop" and not isinstance(self.size, int):
            # Scale by the larger ratio, so that both sides cover.
            ratio = (H, height) if H * width >= W * height else (W, width)
            inner = max(H, _scaled(height, *ratio)), max(W, _scaled(width, *ratio))
        if inner != (height, width):
            planes = frame.permute(2, 0, 1).unsqueeze(0)
            frame = interpolate(planes, inner, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
        top, left = (inner[0] - H) // 2, (inner[1] - W) // 2
        return frame[top : top + H, left : left + W]


def _scaled(length: int, numerator: int, denominator: int) -> int:
    """Round length * numerator / denominator to the nearest integer, halves up, never below 1."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))
