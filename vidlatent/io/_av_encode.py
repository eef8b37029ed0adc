"""Writing through PyAV: H.264, H.265, VP9 and AV1 with audio copied along, and GIF."""

import os
from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import av.container
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from torch import Tensor

from vidlatent.errors import VideoError

from ._av_audio import AudioCopy

_ENCODERS = {"h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
_DEFAULT_CRF = {"h264": 17, "h265": 19, "vp9": 20, "av1": 20}
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
_BT709, _LIMITED = 1, 1  # H.273 code points, as FFmpeg has them


class AvEncoder:
    """One file with one video stream, and perhaps one audio stream copied from elsewhere."""

    def __init__(
        self,
        path: Path,
        partial: Path,
        *,
        height: int,
        width: int,
        fps: Fraction,
        codec: str,
        crf: int | None,
        audio_from: Path | None,
        audio_start: Fraction,
        num_threads: int,
    ) -> None:
        self._path = path
        self._to_yuv = _ToYuv(fits_420=codec in ("vp9", "av1") or not (height % 2 or width % 2))
        # A unit that holds both k / fps exactly and any other time to 1/90000 s.
        self._unit = Fraction(1, fps.numerator * ceil(Fraction(90_000, fps.numerator)))
        self._frame_units = round(1 / fps / self._unit)
        self._last_unit = -1
        suffix = path.suffix.lower()
        # The index in front lets a player start before the whole file has arrived.
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}
        try:
            self._container = av.open(str(partial), "w", format=_FORMATS[suffix], container_options=options)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(path, f"cannot be written: {error.strerror or error}") from error
        self._audio: AudioCopy | None = None
        try:
            self._stream = self._add_video(codec, crf, height, width, fps, num_threads)
            if audio_from is not None:
                self._audio = AudioCopy(audio_from, self._container, path, start_seconds=audio_start)
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            self.abort()
            if isinstance(error, VideoError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise VideoError(
                path, f"{_ENCODERS[codec]} does not take {width}x{height} at {fps} fps: {reason}"
            ) from error
        except BaseException:
            self.abort()
            raise

    def _add_video(self, codec: str, crf: int | None, height: int, width: int, fps: Fraction, num_threads: int) -> Any:
        options = {"crf": str(_DEFAULT_CRF[codec] if crf is None else crf)}
        # swscale puts 4:2:0 chroma amid its four pixels. VP9 and AV1 are read that way; H.264 and H.265 have to say.
        if codec == "h264":
            options["x264-params"] = "chromaloc=1"
        if codec == "h265":
            options["x265-params"] = "log-level=none:chromaloc=1"
        if codec == "vp9":
            options |= {"b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "3"}
        if codec == "av1":
            options["preset"] = "8"
            os.environ.setdefault("SVT_LOG", "1")  # its banner goes to stderr otherwise; 1 leaves errors
        stream: Any = self._container.add_stream(_ENCODERS[codec], rate=fps, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, self._to_yuv.pix_fmt
        context.time_base = self._unit
        context.thread_count = num_threads
        context.color_range = _LIMITED
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        if codec == "h265" and self._path.suffix.lower() in (".mp4", ".mov"):
            context.codec_tag = "hvc1"  # the one of the two tags that Apple's players open
        return stream

    def encode(self, frame: Tensor, at_seconds: Fraction) -> None:
        picture = self._to_yuv(frame)
        self._last_unit = max(round(at_seconds / self._unit), self._last_unit + 1)
        picture.pts, picture.time_base = self._last_unit, self._unit
        picture.duration = self._frame_units
        self._mux(picture)
        if self._audio is not None:
            self._audio.copy_until(at_seconds)

    def _mux(self, picture: Any) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(self._path, f"cannot be written: {error.strerror or error}") from error

    def finish(self) -> None:
        self._mux(None)
        if self._audio is not None:
            self._audio.copy_until((self._last_unit + self._frame_units) * self._unit)
            self._audio.close()
        self._container.close()

    def abort(self) -> None:
        if self._audio is not None:
            self._audio.close()
        # The file is about to be removed; what it lacks does not matter.
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()


class GifEncoder:
    """An endlessly looping GIF in which each frame has a palette of its own."""

    def __init__(self, path: Path, partial: Path, *, height: int, width: int, fps: Fraction) -> None:
        self._path, self._fps = path, fps
        self._last_tick = -1
        self._container = av.open(str(partial), "w", format="gif")
        self._stream: Any = self._container.add_stream("gif", rate=fps)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "pal8"
        context.time_base = _GIF_TICK
        graph = self._graph = av.filter.Graph()
        rgb = av.VideoFormat("rgb24", width, height)
        source = graph.add_buffer(width=width, height=height, format=rgb, time_base=_GIF_TICK)
        split = graph.add("split")
        # Statistics of single frames: a palette for the whole clip would need the whole clip.
        palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        self._held: Any = None

    def encode(self, frame: Tensor, at_seconds: Fraction) -> None:
        picture = av.VideoFrame.from_ndarray(frame.contiguous().numpy(), format="rgb24")
        self._last_tick = max(round(at_seconds / _GIF_TICK), self._last_tick + 1)
        picture.pts, picture.time_base = self._last_tick, _GIF_TICK
        self._graph.push(picture)
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                picture: Any = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        self._graph.push(None)
        self._drain()
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        # The file is about to be removed; what it lacks does not matter.
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()


_GIF_TICK = Fraction(1, 100)


class _ToYuv:
    """From RGB to BT.709 limited range, with one scaler for all frames."""

    def __init__(self, *, fits_420: bool) -> None:
        self.pix_fmt = "yuv420p" if fits_420 else "yuv444p"
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Tensor) -> Any:
        picture = av.VideoFrame.from_ndarray(frame.contiguous().numpy(), format="rgb24")
        return self._reformatter.reformat(
            picture,
            format=self.pix_fmt,
            src_color_range=2,
            dst_color_range=_LIMITED,
            dst_colorspace=Colorspace.ITU709,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
            threads=1,
        )
