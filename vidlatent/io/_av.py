"""Reading through PyAV (FFmpeg's libraries inside the wheel)."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidlatent.errors import MissingDependency, VideoError

from . import colour
from ._encrypted import encrypted_scheme
from .backend import Colour, Damage, Shown
from .clip import VideoSpec
from .geometry import Orientation
from .pixels import over_black
from .timeline import EndCheck, Timeline

if TYPE_CHECKING:
    import av

# How far before the start to look for a key frame. One that begins exactly there may not be the first frame of that
# time; one that is found too late is looked for again further back, and at last the file is read from its beginning.
_SEEK_BACK_SECONDS = (Fraction(1, 1000), Fraction(2), Fraction(12))


class AvReader:
    """One file open in PyAV; decoding its first frame is part of opening it, so that `spec` is what frames will be.

    Raises:
        VideoError: The file is missing, not a video, encrypted, too large in pixels, or not one frame decodes.
    """

    def __init__(self, path: Path, *, max_pixels: int, colour: Colour, num_threads: int) -> None:
        self._path, self._max_pixels, self._colour, self._num_threads = path, max_pixels, colour, num_threads
        self._container: Any = None
        self._open()
        try:
            first = self._first_frame()
            self._orientation = _orientation(first)
            self._zero = self._timeline.presentation_seconds(first)
            self.spec = self._describe(first)
            self.time_base = Fraction(self._stream.time_base)
        finally:
            self.close()

    def frames(self, start_seconds: Fraction) -> Iterator[Shown | Damage]:
        self._open()
        try:
            yield from self._after_seek(start_seconds) or self._from_beginning()
        finally:
            self.close()

    def _from_beginning(self) -> Iterator[Shown | Damage]:
        self._open()
        return self._decode()

    def _after_seek(self, start_seconds: Fraction) -> Iterator[Shown | Damage] | None:
        """Decode from the latest key frame that leads to a frame on screen at the start; None if none is found."""
        av = _import_av()
        if not start_seconds or self._container.duration is None or self._stream.start_time is None:
            return None  # elementary streams have neither times nor an index: a seek would guess a byte
        for back in _SEEK_BACK_SECONDS:
            landing = start_seconds - back
            if landing <= 0:
                return None
            try:
                self._container.seek(int((self._zero + landing) / self._stream.time_base), stream=self._stream)
            except av.FFmpegError:
                return None
            events = self._decode()
            damage, first = _first_shown(events)
            if first is not None and first.pts_seconds < start_seconds:
                # Packets that fail on the way from the key frame to the start are not part of what was asked for.
                inside = [d for d in damage if d.pts_seconds is None or d.pts_seconds >= start_seconds]
                return chain(inside, (first,), events)
        return None

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    # Opening

    def _open(self) -> None:
        av = _import_av()
        self.close()
        try:
            # The limit goes to the probing decoders too: opening an image decodes it.
            container = av.open(str(self._path), options={"max_pixels": str(self._max_pixels)})
        except av.FFmpegError as error:
            raise VideoError(self._path, f"not a readable video: {error.strerror or error}") from error
        self._container = container
        try:
            self._stream = _choose_stream(container, self._path)
            scheme = encrypted_scheme(self._path) if "mp4" in container.format.name else None
            if scheme:
                raise VideoError(self._path, f"encrypted ({scheme}): it cannot be decoded without its key")
            context = self._stream.codec_context
            self._check_pixels(context.width, context.height)
            context.options = {"max_pixels": str(self._max_pixels)}
            # Frame threads log from native threads; with a Python log level set, closing would wait for the
            # interpreter lock they hold.
            logs_to_python = av.logging.get_level() is not None
            # They also take good frames of interlaced H.264 for damaged.
            interlaced = getattr(context, "field_order", 0) > 1  # 0 is unknown, 1 progressive
            self._stream.thread_type = "SLICE" if logs_to_python or interlaced else "AUTO"
            context.thread_count = self._num_threads
        except BaseException:
            self.close()
            raise
        self._timeline = Timeline(
            time_base=self._stream.time_base,
            fps=_frame_rate(self._stream),
            counts_frames="avi" in container.format.name.split(","),
        )

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise VideoError(
                self._path,
                f"{width}x{height} is {width * height:,} pixels a frame, more than max_pixels={self._max_pixels:,}",
                "raise max_pixels if the file is to be trusted",
            )

    def _first_frame(self) -> "av.VideoFrame":
        av = _import_av()
        failed = num_packets = 0
        reason = ""
        try:
            for packet in self._container.demux(self._stream):
                num_packets += packet.size > 0
                if packet.size and self._stream.codec_context.name == "webp":
                    self._check_pixels(*_webp_size(bytes(packet)))
                try:
                    for frame in packet.decode():
                        self._check_pixels(frame.width, frame.height)
                        return frame
                except av.FFmpegError as error:
                    failed, reason = failed + 1, error.strerror or str(error)
        except av.FFmpegError as error:
            reason = error.strerror or str(error)
        if not num_packets:
            raise VideoError(self._path, "no video frames: it has a header for a video track but no data for it")
        hint = ""
        if not self._stream.codec_context.width:  # image decoders learn the size from the data, and refuse then
            hint = f". Frames of more than max_pixels={self._max_pixels:,} are refused"
            if self._stream.codec_context.name == "webp":
                hint = '. If it is an animated WebP, backend="imageio" reads it'
        raise VideoError(
            self._path,
            f"no video frames: none of its {num_packets} packets decodes ({reason or 'decoder stayed silent'}){hint}",
        )

    def _describe(self, first: "av.VideoFrame") -> VideoSpec:
        stream, container = self._stream, self._container
        pix_fmt = first.format.name
        matrix, assumed = colour.matrix_of(int(first.colorspace), pix_fmt=pix_fmt, height=first.height)
        height, width = self._orientation.size(first.height, first.width)
        return VideoSpec(
            path=str(self._path),
            width=width,
            height=height,
            fps=_frame_rate(stream),
            num_frames=stream.frames or None,
            duration_seconds=_claimed_seconds(container, stream, self._zero),
            start_seconds=self._zero,
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            pix_fmt=pix_fmt,
            matrix=matrix,
            range=colour.range_of(int(first.color_range), pix_fmt=pix_fmt),
            matrix_is_assumed=assumed,
            transfer=colour.transfer_of(int(getattr(first, "color_trc", 2))),
            rotation=self._orientation.rotation,
            mirrored=self._orientation.mirrored,
            pixel_aspect=Fraction(stream.codec_context.sample_aspect_ratio or 1) or Fraction(1),
            interlaced=bool(first.interlaced_frame),
            has_audio=bool(container.streams.audio),
        )

    def _seekable(self) -> bool:
        # Elementary streams have neither times nor an index: FFmpeg would guess a byte.
        return self._container.duration is not None and self._stream.start_time is not None

    # Decoding

    def _decode(self) -> Iterator[Shown | Damage]:
        av = _import_av()
        timeline, convert = self._timeline, _Converter(self._colour)
        timeline.restart(at=self._zero)
        ends = EndCheck(self._container, self._stream)
        try:
            # All streams, though only one is decoded: whether a file was cut off is seen at the end of any of them.
            for packet in self._container.demux():
                ends.saw(packet)
                if packet.stream is not self._stream:  # not by stream_index, which is 0 in every flushing packet
                    continue
                if packet.size and packet.has_sidedata("encryption_info"):
                    raise VideoError(self._path, "encrypted: it cannot be decoded without its key")
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    at = None if packet.pts is None else packet.pts * packet.time_base - self._zero
                    yield Damage(f"a packet does not decode ({error.strerror or error})", at)
                    continue
                for frame in frames:
                    self._check_pixels(frame.width, frame.height)
                    shown_at, duration = timeline.place(frame)
                    yield Shown(
                        pts_seconds=max(Fraction(0), shown_at - self._zero),
                        duration_seconds=duration,
                        rgb=partial(self._pixels, convert, frame),
                        damaged=bool(frame.is_corrupt),
                    )
        except av.FFmpegError as error:
            yield Damage(f"reading stopped early: {error.strerror or error}")
        missing = ends.missing()
        if missing:
            yield Damage(missing)

    def _pixels(self, convert: "_Converter", frame: "av.VideoFrame") -> Tensor:
        return self._orientation.apply(convert(frame))


class _Converter:
    """To RGB with one scaler for all frames: a fresh one per frame holds 0.3 MB of tables each."""

    def __init__(self, mode: Colour) -> None:
        from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        self._spaces = {
            "bt601": Colorspace.ITU601,
            "bt709": Colorspace.ITU709,
            "bt2020": Colorspace.BT2020,
            "fcc": Colorspace.FCC,
            "smpte240m": Colorspace.SMPTE240M,
        }
        # "fast" is swscale's shortcut: each chroma sample repeated, results up to 3 levels and on average 1.2 too dark.
        # With full chroma interpolation and accurate rounding the result is within 0.51 level of the equations.
        exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        self._interpolation = exact if mode == "exact" else Interpolation.BILINEAR

    def __call__(self, frame: "av.VideoFrame") -> Tensor:
        pix_fmt = frame.format.name
        matrix, _ = colour.matrix_of(int(frame.colorspace), pix_fmt=pix_fmt, height=frame.height)
        full = colour.range_of(int(frame.color_range), pix_fmt=pix_fmt) == "full"
        has_alpha = any(component.is_alpha for component in frame.format.components)
        picture = self._reformatter.reformat(
            frame,
            format="rgba" if has_alpha else "rgb24",
            src_colorspace=self._spaces.get(matrix),
            src_color_range=2 if full else 1,
            dst_color_range=2,
            interpolation=self._interpolation,
            threads=1,
        )
        plane, channels = picture.planes[0], 4 if has_alpha else 3
        rows = torch.frombuffer(plane, dtype=torch.uint8)
        pixels = rows.as_strided((picture.height, picture.width, channels), (plane.line_size, channels, 1))
        return over_black(pixels) if has_alpha else pixels


def _first_shown(events: Iterator[Shown | Damage]) -> tuple[list[Damage], Shown | None]:
    damage: list[Damage] = []
    for event in events:
        if isinstance(event, Shown):
            return damage, event
        damage.append(event)
    return damage, None


def _choose_stream(container: Any, path: Path) -> Any:
    """FFmpeg's best video stream, as its player takes, but neither cover art nor the alpha plane of a picture."""
    streams = [s for s in container.streams.video if s.codec_context is not None]
    moving = [s for s in streams if "attached_pic" not in _disposition(s)]
    if not moving:
        kinds = sorted({s.type for s in container.streams} | ({"cover art"} if streams else set()))
        raise VideoError(path, f"no video stream: it holds {', '.join(kinds) or 'no streams'}")
    best = container.streams.best("video")
    if best is None or best not in moving:
        best = moving[0]
    if (best.codec_context.pix_fmt or "").startswith("gray"):
        size = best.codec_context.width, best.codec_context.height
        twins = [
            s
            for s in moving
            if (s.codec_context.width, s.codec_context.height) == size
            and s.frames == best.frames
            and not (s.codec_context.pix_fmt or "gray").startswith("gray")
        ]
        best = twins[0] if twins else best
    return best


def _disposition(stream: Any) -> str:
    return getattr(stream.disposition, "name", None) or str(stream.disposition)


def _frame_rate(stream: Any) -> Fraction:
    # 25 is what FFmpeg assumes for pictures without any rate.
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _claimed_seconds(container: Any, stream: Any, zero: Fraction) -> Fraction | None:
    if stream.duration:
        return Fraction(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return Fraction(container.duration + (container.start_time or 0), 1_000_000) - zero
    return None


def _orientation(frame: Any) -> Orientation:
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = memoryview(bytes(side)).cast("i")[:5]
            return Orientation.of_matrix(a, b, c, d)
    return Orientation()


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from a WebP header, which FFmpeg only does while decoding."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _import_av() -> Any:
    try:
        import av
        import av.logging
    except ImportError as error:
        raise MissingDependency("av", "all") from error
    return av
