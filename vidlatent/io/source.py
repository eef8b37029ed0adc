"""Opening a video file and streaming it as clips."""

import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor

from vidlatent.errors import InputError, VideoError

from .backend import Colour, Damage, Reader, Shown
from .clip import Clip, VideoSpec
from .geometry import Fit, Resize, Size
from .rates import Rate, Seconds
from .window import Window

Backend = Literal["av", "decord", "imageio"]
OnDamage = Literal["error", "warn", "keep"]

# Holds an 8K frame four times over and a 16384x8192 panorama once; a larger claim is more often an attack than a video.
MAX_PIXELS = 16384 * 8192


class DamagedVideoWarning(UserWarning):
    """Frames of a video are missing or partly invented, and `on_damage="warn"` let them through."""


def open_video(
    path: str | os.PathLike[str],
    *,
    backend: Backend = "av",
    start: Seconds | None = None,
    stop: Seconds | None = None,
    fps: Rate | None = None,
    size: Size | None = None,
    fit: Fit = "crop",
    chunk_frames: int = 16,
    chunk_bytes: int = 2**29,
    on_damage: OnDamage = "error",
    colour: Colour = "fast",
    max_pixels: int = MAX_PIXELS,
    num_threads: int = 0,
) -> "VideoSource":
    """Open a video, animation or image and stream it as clips of RGB frames; memory does not grow with its length.

    Times count from the first frame that a player shows: edit lists are honoured, a non-zero start is taken off
    (`spec.start_seconds` keeps it), variable frame rates stay as they are. Rotation and mirroring are applied. Colours
    follow the file's matrix and range; untagged ones are BT.709 from 720 rows up, BT.601 below. HDR keeps its curve,
    rounded to 8 bits. A separate alpha plane (VP9, AVIF) is ignored, as players do; GIF transparency shows the frame
    before, black where there is none. Interlaced fields stay woven. Pixels that are not square stay as stored.

    Args:
        path: A local file.
        backend: "av" (PyAV), "decord" (extra "decord"; see `_decord`), or "imageio" for what only Pillow animates.
        start, stop: Seconds, half-open; see `Window`.
        fps: Show what a player would at a constant rate. None keeps the file's own frames and times.
        size: (height, width), or one number for the shorter side; see `Resize`.
        fit: How (height, width) is met: "crop" keeps the aspect and cuts, "stretch" does not.
        chunk_frames: Frames in a clip; the last one is shorter.
        chunk_bytes: Most bytes in a clip, which has at least one frame.
        on_damage: When frames are missing or damaged: "error" gives what came before and raises, never giving a damaged
            frame; "warn" gives everything and warns at the end; "keep" gives everything.
            `VideoSource.damage` lists the reasons in all cases.
        colour: "fast" gives what ffmpeg, torchcodec and decord give, up to 3 levels from the equations; "exact" is
            within 0.51 level of them, interpolates chroma where it is sited, and is several times slower.
        max_pixels: Frames with more are refused before they are decoded.
        num_threads: Of the decoder; 0 chooses by the number of cores.

    Raises:
        InputError: An argument is not allowed.
        VideoError: The file cannot be read (here), or ends early or damaged (while iterating).
    """
    path = Path(path)
    window = Window.of(start, stop, fps)
    resize = None if size is None else Resize(size, fit)
    if min(chunk_frames, chunk_bytes, max_pixels) < 1 or num_threads < 0:
        raise InputError(
            f"chunk_frames={chunk_frames}, chunk_bytes={chunk_bytes}, max_pixels={max_pixels}, "
            f"num_threads={num_threads}: expected chunk_frames, chunk_bytes and max_pixels of at least 1 and "
            "num_threads of at least 0"
        )
    for name, value, allowed in (
        ("backend", backend, ("av", "decord", "imageio")),
        ("on_damage", on_damage, ("error", "warn", "keep")),
        ("colour", colour, ("exact", "fast")),
    ):
        if value not in allowed:
            raise InputError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")
    _check_file(path)
    reader = _open_reader(path, backend, max_pixels=max_pixels, colour=colour, num_threads=num_threads)
    try:
        return VideoSource(
            reader,
            window=window,
            resize=resize,
            chunk_frames=chunk_frames,
            chunk_bytes=chunk_bytes,
            on_damage=on_damage,
        )
    except BaseException:
        reader.close()
        raise


class VideoSource:
    """An open video: a context manager that iterates `Clip`s, each time from the start of its window.

    Attributes:
        spec: What the file says about itself.
        height, width: Of the frames that come out: after rotation and `size=`.
        damage: Reasons found so far in this iteration, as (seconds or None, reason).
    """

    def __init__(
        self,
        reader: Reader,
        *,
        window: Window,
        resize: Resize | None,
        chunk_frames: int,
        chunk_bytes: int,
        on_damage: OnDamage,
    ) -> None:
        self.spec: VideoSpec = reader.spec
        self._reader, self._window, self._resize, self._on_damage = reader, window, resize, on_damage
        size = (self.spec.height, self.spec.width)
        self.height, self.width = size if resize is None else resize.output_size(*size)
        self._chunk_frames = max(1, min(chunk_frames, chunk_bytes // (self.height * self.width * 3)))
        self.damage: list[tuple[Fraction | None, str]] = []
        self._end = Fraction(0)
        duration = self.spec.duration_seconds
        # A slack of one second: the header's claim may be short, and the end of the file settles the matter.
        if duration is not None and window.start >= duration + 1:
            raise self._outside(f"it lasts {float(duration):.3f} s")

    def __enter__(self) -> "VideoSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder and the file."""
        self._reader.close()

    def __repr__(self) -> str:
        return f"VideoSource({self.spec})"

    def __iter__(self) -> Iterator[Clip]:
        self.damage = []
        total = 0
        try:
            for clip in self._clips(self._window.select(self._trusted_frames())):
                total += clip.num_frames
                yield clip
        finally:
            self._reader.close()
        if not total:
            raise self._outside(f"its last frame ends at {float(self._end):.3f} s")
        if self.damage and self._on_damage == "warn":
            warnings.warn(f"{self.spec.path}: {self._summary()}", DamagedVideoWarning, stacklevel=2)

    def _outside(self, length: str) -> VideoError:
        start, stop = self._window.start, self._window.stop
        asked = f"[{float(start):g}, {'end' if stop is None else format(float(stop), 'g')}) s"
        return VideoError(self.spec.path, f"no frame in {asked}: {length}")

    def _trusted_frames(self) -> Iterator[Shown]:
        """Frames as the backend gives them, damage listed, and raised if that is the policy."""
        start, stop = self._window.start, self._window.stop
        self._end = Fraction(0)
        count = 0
        for event in self._reader.frames(start):
            if isinstance(event, Damage):
                self._found(event.pts_seconds, event.reason, count)
                continue
            self._end = event.pts_seconds + event.duration_seconds
            inside = self._end > start and (stop is None or event.pts_seconds < stop)
            if event.damaged and inside:
                self._found(event.pts_seconds, "a frame is damaged", count)
            count += 1
            yield event

    def _found(self, at: Fraction | None, reason: str, count: int) -> None:
        self.damage.append((at, reason))
        if self._on_damage == "error":
            claim = "" if self.spec.num_frames is None else f" of {self.spec.num_frames} claimed"
            raise VideoError(
                self.spec.path,
                f"{_when(at, reason)}; {count} frame{'' if count == 1 else 's'}{claim} decoded before that",
                'on_damage="warn" or "keep" takes what is there',
            )

    def _summary(self) -> str:
        reasons = [_when(at, reason) for at, reason in self.damage]
        more = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return "; ".join(reasons[:3]) + more

    def _clips(self, shown: Iterator[tuple[Fraction, Shown]]) -> Iterator[Clip]:
        """Gather frames into clips; what came before a failure is still given."""
        failure: VideoError | None = None
        converted: tuple[Shown, Tensor] | None = None  # at a higher rate than the file's, frames come several times
        while failure is None:
            frames: Tensor | None = None
            times: list[Fraction] = []
            try:
                for at, frame in shown:
                    if frames is None:
                        frames = torch.empty((self._chunk_frames, self.height, self.width, 3), dtype=torch.uint8)
                    if converted is None or converted[0] is not frame:
                        converted = frame, self._pixels(frame)
                    frames[len(times)] = converted[1]
                    times.append(at)
                    if len(times) == self._chunk_frames:
                        break
            except VideoError as error:
                failure = error
            if frames is not None and times:
                # A short clip gets storage of its own size, not a view of a whole chunk.
                whole = len(times) == self._chunk_frames
                yield Clip(frames=frames if whole else frames[: len(times)].clone(), pts_seconds=tuple(times))
            if failure is None and len(times) < self._chunk_frames:
                return
        raise failure

    def _pixels(self, frame: Shown) -> Tensor:
        picture = frame.rgb()
        if self._resize is not None:
            return self._resize.apply(picture)
        if tuple(picture.shape[:2]) != (self.height, self.width):
            H, W = picture.shape[:2]
            raise VideoError(
                self.spec.path,
                f"frames change from {self.width}x{self.height} to {W}x{H} at {float(frame.pts_seconds):.2f} s; "
                f"size=({self.height}, {self.width}) brings all frames to one size",
            )
        return picture


def _when(at: Fraction | None, reason: str) -> str:
    return reason if at is None else f"{reason} at {float(at):.2f} s"


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(path, "a folder, not a video file")
    if not path.exists():
        raise VideoError(path, "no such file")
    if not path.stat().st_size:
        raise VideoError(path, "the file is empty (0 bytes)")


def _open_reader(path: Path, backend: Backend, *, max_pixels: int, colour: Colour, num_threads: int) -> Reader:
    if backend == "decord":
        from ._decord import DecordReader

        return DecordReader(path, max_pixels=max_pixels, num_threads=num_threads)
    if backend == "imageio":
        from ._imageio import ImageioReader

        return ImageioReader(path, max_pixels=max_pixels)
    from ._av import AvReader

    return AvReader(path, max_pixels=max_pixels, colour=colour, num_threads=num_threads)
