"""What a reader yields: a run of frames with their times, and a description of the file they come from."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from torch import Tensor

Matrix = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m", "ycgco", "rgb", "gray"]
Range = Literal["limited", "full"]


@dataclass(frozen=True)
class Clip:
    """A run of consecutive frames and the exact second at which each one appears.

    Args:
        frames: uint8 (T, H, W, 3), RGB, rotation applied.
        pts_seconds: T exact times, never decreasing. The first frame that a player shows is at 0.
    """

    frames: Tensor
    pts_seconds: tuple[Fraction, ...]

    @property
    def pts(self) -> tuple[Fraction, ...]:
        """The same as `pts_seconds`."""
        return self.pts_seconds

    @property
    def num_frames(self) -> int:
        """T, the length of the first axis."""
        return self.frames.shape[0]

    def __repr__(self) -> str:
        T, H, W, _ = self.frames.shape
        if not T:
            return f"Clip(0 frames of {W}x{H})"
        first, last = float(self.pts_seconds[0]), float(self.pts_seconds[-1])
        return f"Clip({T} frames of {W}x{H}, {first:.3f}..{last:.3f} s)"


@dataclass(frozen=True)
class VideoSpec:
    """What a file says about its video, with the decisions taken where it says nothing.

    Args:
        path: The file.
        width, height: Of a decoded frame: rotation applied, before any `size=`.
        fps: Average frame rate as the container states it; a variable rate has no other meaning here.
        num_frames: The container's claim, None without one. A claim, not a count: edit lists and damage change it.
        duration_seconds: From the first shown frame to the end of the last one, None when nothing states it.
        start_seconds: Time stamp of the first shown frame in the file; `Clip.pts_seconds` counts from there.
        codec: Decoder's name, "h264", "hevc", "vp9", "av1", ...
        container: Demuxer's name.
        pix_fmt: As stored, in FFmpeg's words: "yuv420p10le", ...
        matrix, range: Used to convert to RGB.
        matrix_is_assumed: The file does not say; BT.709 from 720 rows up, BT.601 below.
        transfer: "pq", "hlg" or "sdr". PQ and HLG are not tone-mapped: the values stay in their curve.
        rotation: Degrees counter-clockwise by which the stored picture was turned.
        mirrored: The stored picture was also mirrored.
        pixel_aspect: Width of a pixel over its height as stored. Not applied to the frames.
        interlaced: The first frame says so. Fields stay woven: nothing deinterlaces.
        has_audio: An audio stream is present.
    """

    path: str
    width: int
    height: int
    fps: Fraction
    num_frames: int | None
    duration_seconds: Fraction | None
    start_seconds: Fraction
    codec: str
    container: str
    pix_fmt: str
    matrix: Matrix
    range: Range
    matrix_is_assumed: bool
    transfer: Literal["sdr", "pq", "hlg"]
    rotation: int
    mirrored: bool
    pixel_aspect: Fraction
    interlaced: bool
    has_audio: bool

    def __str__(self) -> str:
        length = "unknown length" if self.duration_seconds is None else f"{float(self.duration_seconds):.2f} s"
        colour = f"{self.matrix}{' (assumed)' if self.matrix_is_assumed else ''} {self.range}"
        turned = f", turned {self.rotation} degrees" if self.rotation else ""
        return (
            f"{self.path}: {self.width}x{self.height}, {float(self.fps):.3f} fps, {length}, "
            f"{self.codec} {self.pix_fmt} in {self.container}, {colour}{turned}"
        )
