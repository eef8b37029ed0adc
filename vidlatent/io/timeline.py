"""When a decoded frame appears, and whether the file went on as long as it said it would."""

from fractions import Fraction
from typing import Any

_SHORT_SECONDS = Fraction(1, 2)
_SHORT_FRAMES = 4


class Timeline:
    """Presentation times of frames in the order a decoder gives them, never decreasing.

    Args:
        time_base: Seconds per unit of the frames' time stamps.
        fps: Used where a frame has no time or no duration.
        counts_frames: The container (AVI) numbers frames in decoding order and knows no presentation times; what
            the demuxer reports as such is a guess that goes wrong with B-frames. The count is `frame.dts`.
    """

    def __init__(self, *, time_base: Fraction, fps: Fraction, counts_frames: bool) -> None:
        self._time_base, self._fps, self._counts_frames = Fraction(time_base), fps, counts_frames
        self.restart(at=Fraction(0))

    def restart(self, *, at: Fraction) -> None:
        """Forget the frame before: decoding goes on somewhere else, at this time if the frames do not say."""
        self._last: Fraction | None = None
        self._next = at
        self._step = 1 / self._fps

    def presentation_seconds(self, frame: Any) -> Fraction:
        """Time of `frame` in the file, without regard to the ones before it."""
        stamp = frame.dts if self._counts_frames else frame.pts
        return self._next if stamp is None else stamp * self._time_base

    def place(self, frame: Any) -> tuple[Fraction, Fraction]:
        """Return (time, duration) in seconds of the next frame in the order shown."""
        at = self.presentation_seconds(frame)
        # Damaged composition tables send a frame back in time; a player shows it as soon as it can.
        at = at if self._last is None else max(at, self._last)
        if self._last is not None and at > self._last:
            self._step = at - self._last
        duration = (frame.duration or 0) * self._time_base
        if self._counts_frames or frame.pts is None or duration <= 0:
            duration = self._step
        self._last, self._next = at, at + duration
        return at, duration


class EndCheck:
    """Compares where the packets of a file end with where its header and index say they do.

    Truncated files end without an error in FFmpeg. Frame counts in headers say little (edit lists, fragments), but an
    index names the last packet, and a duration can be held against the last packet of any stream.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._last_video_dts: int | None = None
        self._num_video_packets = 0
        self._end = Fraction(0)

    def saw(self, packet: Any) -> None:
        """Take note of a packet of any stream, in the order read."""
        if not packet.size:
            return
        if packet.stream is self._stream:
            self._num_video_packets += 1
            if packet.dts is not None:
                self._last_video_dts = max(packet.dts, self._last_video_dts or packet.dts)
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            self._end = max(self._end, (stamp + (packet.duration or 0)) * Fraction(packet.time_base))

    def missing(self) -> str | None:
        """Say what is missing once the file has been read to its end, None if nothing is."""
        return self._short_of_index() or self._short_of_duration()

    def _short_of_index(self) -> str | None:
        index = getattr(self._stream, "index_entries", None)  # PyAV 17 and later
        if not index or self._last_video_dts is None:
            return None
        indexed = len(index)
        last_indexed = index[indexed - 1].timestamp
        if self._last_video_dts >= last_indexed:
            return None
        return (
            f"cut off: its index goes on to {_at(last_indexed * self._stream.time_base)}, its data ends at "
            f"{_at(self._last_video_dts * self._stream.time_base)} ({self._num_video_packets} packets read, "
            f"{indexed} in the index)"
        )

    def _short_of_duration(self) -> str | None:
        if not self._container.duration or self._container.duration < 0:
            return None
        claimed = Fraction(self._container.duration + (self._container.start_time or 0), 1_000_000)
        rate = self._stream.average_rate or 25
        if claimed - self._end <= max(_SHORT_SECONDS, _SHORT_FRAMES / Fraction(rate)):
            return None
        return f"cut off: its header says {_at(claimed)}, its data ends at {_at(self._end)}"


def _at(seconds: Fraction) -> str:
    return f"{float(seconds):.2f} s"
