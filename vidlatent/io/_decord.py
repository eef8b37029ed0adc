"""Reading through decord.

PyAV opens the file first, so the description, and what is refused before decoding, are the same. Where decord
differs: an edit list that hides frames puts the wrong times on the others, so such files are refused; times are float32
(brought back to the file's time base, so exact for about the first quarter of an hour); untagged colour is BT.601
whatever the height; conversion is swscale's fast path, whatever `colour` says; damage is not reported; there is
no AV1, no GIF and no elementary stream. It has had no release since 2021.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.errors import MissingDependency, VideoError

from ._av import AvReader
from .backend import Damage, Shown

# decord gives times in the 1e17s where the file has none.
_NO_TIME = 1e9


class DecordReader:
    """One file as decord decodes it.

    Raises:
        VideoError: PyAV or decord cannot open the file.
        MissingDependency: decord is not installed.
    """

    def __init__(self, path: Path, *, max_pixels: int, num_threads: int) -> None:
        try:
            import decord
        except ImportError as error:
            raise MissingDependency("decord", "decord") from error
        described = AvReader(path, max_pixels=max_pixels, colour="fast", num_threads=num_threads)
        self.spec, self._time_base = described.spec, described.time_base
        self._path = path
        self._error: type[Exception] = decord.DECORDError
        self._open = lambda: decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=num_threads)
        self._video: Any = self._open_or_raise()
        # In AVI it mixes frame numbers with stamps that are not there; numbers alone are right.
        self._numbered = "avi" in self.spec.container.split(",")
        if self._time(0) * self.spec.fps < -2:
            raise VideoError(
                path, 'its edit list hides frames, and decord puts wrong times on the others; use backend="av"'
            )

    def _open_or_raise(self) -> Any:
        try:
            return self._open()
        except (self._error, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else "unknown error"
            raise VideoError(self._path, f'decord cannot read it ({reason}); backend="av" may') from error

    def frames(self, start_seconds: Fraction) -> Iterator[Shown | Damage]:
        if self._video is None:
            self._video = self._open_or_raise()
        video = self._video
        step = 1 / self.spec.fps
        last = Fraction(0)
        first = self._first_index(start_seconds)
        for index in range(first, len(video)):
            at = self._time(index)
            last = max(at, last)
            if index + 1 < len(video):
                step = max(Fraction(0), self._time(index + 1) - at) or 1 / self.spec.fps
            try:
                picture = torch.from_numpy(video[index].asnumpy())
            except (self._error, RuntimeError) as error:
                yield Damage(f"decord stopped: {str(error).strip().splitlines()[0]}", last)
                return
            yield Shown(pts_seconds=last, duration_seconds=step, rgb=partial(_same, picture))

    def _first_index(self, start_seconds: Fraction) -> int:
        """Index of the last frame at or before the start, by bisection."""
        low, high = 0, len(self._video)
        while high - low > 1:
            middle = (low + high) // 2
            if self._time(middle) <= start_seconds:
                low = middle
            else:
                high = middle
        return low

    def _time(self, index: int) -> Fraction:
        start = float(self._video.get_frame_timestamp(index)[0])
        if self._numbered or abs(start) > _NO_TIME:
            return index / self.spec.fps
        return round(start / self._time_base) * self._time_base

    def close(self) -> None:
        self._video = None


def _same(picture: Tensor) -> Tensor:
    return picture
