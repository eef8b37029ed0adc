"""Copying compressed audio from one file into another one through PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidlatent.errors import VideoError


class AudioCopy:
    """The audio packets of `source`, fed to `output` as far as the video has come.

    Args:
        source: File whose best audio stream is taken.
        output: Open PyAV container that has not started writing.
        path: Name of the output, for errors.
        start_seconds: Time in `source`, from its first video frame (its first sound without video), that becomes 0.
    """

    def __init__(self, source: Path, output: Any, path: Path, *, start_seconds: Fraction) -> None:
        self._output = output
        try:
            self._input: Any = av.open(str(source))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(source, f"audio_from: not readable: {error.strerror or error}") from error
        try:
            best = self._input.streams.best("audio")
            if best is None:
                raise VideoError(source, "audio_from: it has no audio stream")
            try:
                self._stream = output.add_stream_from_template(best)
            except (ValueError, av.FFmpegError) as error:
                raise VideoError(
                    path, f"{path.suffix} cannot hold the {best.codec_context.name} audio of {source}; try .mkv"
                ) from error
            video = [s for s in self._input.streams.video if s.start_time is not None]
            zero: Any = video[0] if video else best
            self._offset = (zero.start_time or 0) * Fraction(zero.time_base) + start_seconds
            self._packets: Iterator[Any] = self._input.demux(best)
            self._waiting: Any = None
        except BaseException:
            self.close()
            raise

    def copy_until(self, seconds: Fraction) -> None:
        """Copy the packets that start before this time of the output."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.dts is None:
                continue
            base = Fraction(packet.time_base)
            at = packet.pts * base - self._offset
            if at >= seconds:
                self._waiting = packet
                return
            if at < 0:
                continue  # sounds before the first frame
            shift = round(self._offset / base)
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = self._stream
            self._output.mux(packet)

    def close(self) -> None:
        """Close the source file."""
        self._input.close()
