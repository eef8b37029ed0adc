"""Which clips are made of a video: all of it, its scenes, or windows of so many frames; at which size and rate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from vidlatent.errors import InputError
from vidlatent.io.rates import as_fps

Size = int | tuple[int, int]
Tail = Literal["drop", "keep"]

_BUCKET = re.compile(r"([1-9]\d*)x([1-9]\d*)(?:x([1-9]\d*))?(?:@(\d+(?:\.\d+)?(?:/[1-9]\d*)?))?")


@dataclass(frozen=True)
class Shape:
    """What clips are brought to: None keeps the video's own.

    Args:
        size: (H, W), scaled to cover and cropped at the centre; or one number for the shorter side.
        frames: Frames of a clip; None takes the whole video or scene.
        fps: Constant rate.
    """

    size: Size | None = None
    frames: int | None = None
    fps: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> Shape:
        """A bucket as "480x832x81@16": rows, columns, frames if they are fixed, rate if it is. Raises `InputError`."""
        match = _BUCKET.fullmatch(text)
        if not match:
            raise InputError(f"bucket {text!r}: expected HEIGHTxWIDTH, HEIGHTxWIDTHxFRAMES, either with @FPS")
        height, width, frames, fps = match.groups()
        rate = None if fps is None else as_fps(float(fps) if "." in fps else Fraction(fps))
        return cls((int(height), int(width)), None if frames is None else int(frames), rate)


@dataclass(frozen=True)
class ClipPolicy:
    """How clips are cut from a video.

    Args:
        shape: What all of them are brought to, if there are no buckets.
        stride: Frames from the start of a window to the next one's; None puts them end to end.
        tail: What becomes of the frames after the last whole window: "drop", or "keep" as a shorter clip. A video of
            a single frame is an image, and always a clip.
        buckets: Shapes of which each video gets the one nearest to its aspect; among equals, the longest it fills.
    """

    shape: Shape = Shape()
    stride: int | None = None
    tail: Tail = "drop"
    buckets: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        for shape in (self.shape, *self.buckets):
            if shape.frames is not None and shape.frames < 1:
                raise InputError(f"frames={shape.frames}: a clip has at least one")
        if self.stride is not None and self.stride < 1:
            raise InputError(f"stride={self.stride}: windows begin at least one frame apart")
        if self.stride is not None and not any(s.frames for s in (self.shape, *self.buckets)):
            raise InputError("stride is between windows of a number of frames: give frames too")
        if self.tail not in ("drop", "keep"):
            raise InputError(f"tail={self.tail!r}: expected 'drop' or 'keep'")
        if self.buckets and self.shape != Shape():
            raise InputError("buckets say size, frames and rate themselves: leave size, frames and fps out")

    def choose(self, height: int, width: int, fps: Fraction, seconds: Fraction | None) -> Shape:
        """The shape for a video of `height` x `width` that lasts about `seconds`, None where nothing states it."""
        if not self.buckets:
            return self.shape

        def distance(shape: Shape) -> float:
            assert isinstance(shape.size, tuple)
            return abs(math.log(shape.size[0] * width / (shape.size[1] * height)))

        def fits(shape: Shape) -> bool:
            # Half a frame of slack: durations are rounded in containers.
            return (
                shape.frames is None or seconds is None or seconds * (shape.fps or fps) + Fraction(1, 2) >= shape.frames
            )

        nearest = min(map(distance, self.buckets))
        alike = [shape for shape in self.buckets if distance(shape) < nearest + 1e-9]
        fitting = [shape for shape in alike if fits(shape)]
        if fitting:
            return max(fitting, key=_extent)
        return min(alike, key=_extent)

    def to_json(self) -> dict[str, Any]:
        """What must be equal for clips to be equal."""
        shapes = [_described(shape) for shape in self.buckets or (self.shape,)]
        return {"shapes": shapes, "stride": self.stride, "tail": self.tail}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ClipPolicy:
        """Inverse of `to_json`."""
        shapes = tuple(_shape(item) for item in record["shapes"])
        # One shape with a fixed size is the same as one bucket.
        several = {"buckets": shapes} if len(shapes) > 1 else {"shape": shapes[0]}
        return cls(stride=record["stride"], tail=record["tail"], **several)


def _extent(shape: Shape) -> tuple[float, int]:
    assert isinstance(shape.size, tuple)
    return (math.inf if shape.frames is None else shape.frames, shape.size[0] * shape.size[1])


def _described(shape: Shape) -> dict[str, Any]:
    size = list(shape.size) if isinstance(shape.size, tuple) else shape.size
    return {"size": size, "frames": shape.frames, "fps": None if shape.fps is None else str(shape.fps)}


def _shape(record: Mapping[str, Any]) -> Shape:
    size, fps = record["size"], record["fps"]
    return Shape(
        (size[0], size[1]) if isinstance(size, list) else size, record["frames"], None if fps is None else Fraction(fps)
    )
