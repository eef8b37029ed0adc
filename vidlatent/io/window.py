"""Which decoded frames make the output: a range of seconds, at the file's own rate or at another one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from vidlatent.errors import InputError

from .backend import Shown
from .rates import Seconds, as_fps, as_seconds

_ROUNDING_SECONDS = Fraction(1, 1000)


@dataclass(frozen=True)
class Window:
    """The seconds [start, stop) of a clip, at `fps` or, with None, at the file's own times.

    At the file's own times a frame is in if it appears at start <= pts < stop. At another rate there is a tick at every
    start + k / fps before stop and before the clip's end, and each shows what a player would: the latest frame with
    pts <= tick + slack. A stop beyond the clip's end means its end.

    The slack, 1 ms or a quarter of a tick if that is less, is for containers that round times: Matroska keeps whole
    milliseconds, so the frame due at 2/30 s is stored at 67 ms, just after its own tick.
    """

    start: Fraction = Fraction(0)
    stop: Fraction | None = None
    fps: Fraction | None = None

    @classmethod
    def of(cls, start: Seconds | None, stop: Seconds | None, fps: int | float | Fraction | None) -> "Window":
        """Check the three arguments of `open_video`.

        Raises:
            InputError: A time is negative, stop is not after start, or fps is not positive.
        """
        window = cls(
            start=Fraction(0) if start is None else as_seconds("start", start),
            stop=None if stop is None else as_seconds("stop", stop),
            fps=None if fps is None else as_fps(fps),
        )
        if window.stop is not None and window.stop <= window.start:
            raise InputError(f"start={start}, stop={stop}: stop must come after start")
        return window

    def select(self, frames: Iterable[Shown]) -> Iterator[tuple[Fraction, Shown]]:
        """Yield (time, frame) for each output frame, reading no further than needed."""
        return self._at_own_times(frames) if self.fps is None else self._at_ticks(frames, 1 / self.fps)

    def _at_own_times(self, frames: Iterable[Shown]) -> Iterator[tuple[Fraction, Shown]]:
        for frame in frames:
            if self.stop is not None and frame.pts_seconds >= self.stop:
                return
            if frame.pts_seconds >= self.start:
                yield frame.pts_seconds, frame

    def _at_ticks(self, frames: Iterable[Shown], step: Fraction) -> Iterator[tuple[Fraction, Shown]]:
        tick, count = self.start, 0
        slack = min(_ROUNDING_SECONDS, step / 4)
        on_screen: Shown | None = None
        for frame in frames:
            if on_screen is not None:
                while tick + slack < frame.pts_seconds:
                    if self.stop is not None and tick >= self.stop:
                        return
                    yield tick, on_screen
                    count += 1
                    tick = self.start + count * step
            on_screen = frame
        if on_screen is None:
            return
        end = on_screen.pts_seconds + on_screen.duration_seconds
        while tick + slack < end and (self.stop is None or tick < self.stop):
            yield tick, on_screen
            count += 1
            tick = self.start + count * step
