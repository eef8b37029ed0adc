"""Writing video files frame by frame."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

import torch
from torch import Tensor

from vidlatent.errors import InputError, VideoError
from vidlatent.files import PartialFile

from .clip import Clip
from .pixels import check_frames, to_uint8
from .rates import Rate, Seconds, as_fps, as_seconds

Codec = Literal["h264", "h265", "vp9", "av1", "gif"]

# What each container is written with, its default first.
_CODECS: dict[str, tuple[Codec, ...]] = {
    ".mp4": ("h264", "h265", "av1", "vp9"),
    ".mov": ("h264", "h265"),
    ".mkv": ("h264", "h265", "vp9", "av1"),
    ".webm": ("vp9", "av1"),
    ".gif": ("gif",),
}
_MAX_CRF: dict[Codec, int] = {"h264": 51, "h265": 51, "vp9": 63, "av1": 63}


class Encoder(Protocol):
    """One output file being written."""

    def encode(self, frame: Tensor, at_seconds: Fraction) -> None:
        """Take one frame, uint8 (H, W, 3)."""

    def finish(self) -> None:
        """Write what is still held back, and the index."""

    def abort(self) -> None:
        """Let go of the file, whatever state it is in."""


class VideoWriter:
    """Write frames to a video file as they come, in memory that does not grow with their number.

    The file appears under its name when the block ends without an error, and an existing one stays as it was until
    then. Colours are converted to BT.709 limited range and tagged so. 8 bits, 4:2:0 chroma; sizes with an odd side,
    which H.264 and H.265 cannot hold in 4:2:0, are written as 4:4:4 (few browsers play it) and so stay as they are.

    Args:
        path: .mp4 or .mov (moov in front), .mkv, .webm (vp9, av1) or .gif (one 256-colour palette per frame).
        fps: Frame rate; Fraction(30000, 1001) stays exact, and 29.97 means it.
        codec: "h264", "h265", "vp9", "av1" or "gif"; None takes the usual one for the extension.
        crf: Quality, lower is better: 0..51 for h264 and h265, 0..63 for vp9 and av1. None is visually near lossless.
        audio_from: A file whose audio is copied in, unchanged, up to the end of the video.
        audio_start: Second of that file, counted from its first video frame, that plays with the first frame.
        num_threads: Of the encoder; 0 chooses by the number of cores.

    Raises:
        InputError: An argument is not allowed.
        VideoError: The folder does not exist, or the encoder refuses (such as AV1 below its smallest size).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: Rate,
        codec: Codec | None = None,
        crf: int | None = None,
        audio_from: str | os.PathLike[str] | None = None,
        audio_start: Seconds = 0,
        num_threads: int = 0,
    ) -> None:
        self._path = Path(path)
        self._fps = as_fps(fps)
        self._codec = _codec_for(self._path, codec)
        self._crf = _checked_crf(self._codec, crf)
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._audio_start = as_seconds("audio_start", audio_start)
        self._num_threads = num_threads
        if self._codec == "gif" and audio_from is not None:
            raise InputError(f"audio_from={str(audio_from)!r}: a GIF has no sound")
        if not self._path.absolute().parent.is_dir():
            raise VideoError(self._path, f"the folder {self._path.parent} does not exist")
        if self._path.is_dir():
            raise VideoError(self._path, "a folder has this name")
        self._partial = PartialFile(self._path)
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._last: Fraction | None = None
        self._closed = False
        self.num_frames = 0

    def write(self, frames: Tensor, *, pts_seconds: Iterable[Fraction] | None = None) -> None:
        """Append frames.

        Args:
            frames: uint8 (T, H, W, 3) or (H, W, 3), or a floating-point clip (1, 3, T, H, W) in [-1, 1].
            pts_seconds: The T times of the frames, never decreasing, for a variable rate. None continues at `fps`.
                Kept to 1/90000 s or finer in MP4 and MOV, 1 ms in MKV and WebM, 10 ms in GIF. Frames of
                one time are moved apart by one such unit, since a container holds one frame at a time.

        Raises:
            InputError: Shape, type or size differ from what is allowed or came before, or a time goes back.
        """
        if self._closed:
            raise InputError(f"{self._path}: this writer is closed")
        frames = _as_frames(frames)
        times = None if pts_seconds is None else [Fraction(t) for t in pts_seconds]
        if times is not None and len(times) != len(frames):
            raise InputError(f"pts_seconds holds {len(times)} times for {len(frames)} frames")
        for i, frame in enumerate(frames.cpu()):
            self._append(frame, self._next_time() if times is None else times[i])

    def _next_time(self) -> Fraction:
        return Fraction(0) if self._last is None else self._last + 1 / self._fps

    def _append(self, frame: Tensor, at: Fraction) -> None:
        if at < 0 or (self._last is not None and at < self._last):
            raise InputError(
                f"pts_seconds goes from {self._last} to {at}: times start at 0 or later and never decrease"
            )
        if self._encoder is None:
            self._size = (frame.shape[0], frame.shape[1])
            self._encoder = self._start()
        if tuple(frame.shape[:2]) != self._size:
            H, W = self._size
            raise InputError(f"{self._path}: frames were {W}x{H} and now are {frame.shape[1]}x{frame.shape[0]}")
        self._encoder.encode(frame, at)
        self._last = at
        self.num_frames += 1

    def _start(self) -> Encoder:
        from ._av_encode import AvEncoder, GifEncoder

        H, W = self._size
        if self._codec == "gif":
            return GifEncoder(self._path, self._partial.path, height=H, width=W, fps=self._fps)
        return AvEncoder(
            self._path,
            self._partial.path,
            height=H,
            width=W,
            fps=self._fps,
            codec=self._codec,
            crf=self._crf,
            audio_from=self._audio_from,
            audio_start=self._audio_start,
            num_threads=self._num_threads,
        )

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            InputError: No frame was written.
        """
        if self._closed:
            return
        try:
            if self._encoder is None:
                raise InputError(f"{self._path}: no frames were written, and a video holds at least one")
            self._encoder.finish()
            self._partial.commit()
            self._closed = True
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: remove what was written, leave an existing file of this name as it is."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._encoder is not None:
                self._encoder.abort()
        finally:
            self._partial.discard()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def write_video(
    path: str | os.PathLike[str],
    frames: Tensor | Clip | Iterable[Tensor | Clip],
    *,
    fps: Rate,
    codec: Codec | None = None,
    crf: int | None = None,
    pts_seconds: Iterable[Fraction] | None = None,
    audio_from: str | os.PathLike[str] | None = None,
    audio_start: Seconds = 0,
    num_threads: int = 0,
) -> Path:
    """Write a whole video, from a tensor or from anything that yields them (a `VideoSource`, a generator).

    Args:
        path: See `VideoWriter`, also for fps, codec, crf, audio_from, audio_start and num_threads.
        frames: uint8 (T, H, W, 3), a floating-point clip (1, 3, T, H, W) in [-1, 1], a `Clip`, or an iterable of them.
        fps: Frame rate.
        codec: None takes the usual one for the extension, H.264 for .mp4.
        crf: Quality, lower is better.
        pts_seconds: One time for each frame, for a variable rate; read along with the frames.
        audio_from: A file whose audio is copied in.
        audio_start: Second of that file that plays with the first frame.
        num_threads: Of the encoder; 0 chooses by the number of cores.

    Returns:
        The path, as a `Path`.

    Raises:
        InputError: An argument is not allowed, or there are no frames.
        VideoError: The file cannot be written.
    """
    parts: Iterable[Tensor | Clip] = (frames,) if isinstance(frames, Tensor | Clip) else frames
    times: Iterator[Fraction] | None = None if pts_seconds is None else iter(pts_seconds)
    options = {"codec": codec, "crf": crf, "audio_from": audio_from, "audio_start": audio_start}
    with VideoWriter(path, fps=fps, num_threads=num_threads, **options) as writer:  # type: ignore[arg-type]
        for part in parts:
            tensor = _as_frames(part.frames if isinstance(part, Clip) else part)
            writer.write(tensor, pts_seconds=None if times is None else _take(times, len(tensor)))
        if times is not None and next(times, None) is not None:
            raise InputError(f"pts_seconds holds more times than the {writer.num_frames} frames")
    return Path(path)


def _take(times: Iterator[Fraction], count: int) -> list[Fraction]:
    return [at for _, at in zip(range(count), times, strict=False)]


def _as_frames(frames: Tensor) -> Tensor:
    """Bring any of the accepted layouts to uint8 (T, H, W, 3)."""
    if not isinstance(frames, Tensor):
        raise InputError(f"frames are tensors; got {type(frames).__name__}")
    if frames.is_floating_point():
        return to_uint8(frames)
    if frames.ndim == 3 and frames.dtype == torch.uint8:
        frames = frames.unsqueeze(0)
    check_frames(frames)
    if 0 in frames.shape[1:]:
        raise InputError(f"frames of {frames.shape[2]}x{frames.shape[1]} pixels cannot be written")
    return frames


def _codec_for(path: Path, codec: Codec | None) -> Codec:
    table = "; ".join(f"{suffix}: {', '.join(codecs)}" for suffix, codecs in _CODECS.items())
    allowed = _CODECS.get(path.suffix.lower())
    if allowed is None:
        raise InputError(f"{path}: the extension {path.suffix!r} is not one that can be written. Allowed are {table}")
    if codec is None:
        return allowed[0]
    if codec not in allowed:
        raise InputError(f"{path}: codec={codec!r} does not go into {path.suffix}. Allowed are {table}")
    return codec


def _checked_crf(codec: Codec, crf: int | None) -> int | None:
    if crf is None:
        return None
    if codec not in _MAX_CRF:
        raise InputError(f"crf={crf}: a GIF has no quality setting")
    if isinstance(crf, bool) or not isinstance(crf, int) or not 0 <= crf <= _MAX_CRF[codec]:
        raise InputError(f"crf={crf!r}: expected an integer from 0 (best) to {_MAX_CRF[codec]} for {codec}")
    return crf
