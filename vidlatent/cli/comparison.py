"""What `reconstruct` does with each run of frames: measure it, film it, keep a still now and then."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from vidlatent.encode import Pair
from vidlatent.io import VideoWriter, to_float
from vidlatent.metrics import PSNR, SSIM
from vidlatent.report import Panels, Stills, clip_page

_SMALLEST_FOR_SSIM = 11
_STILLS = 4
_ERROR_GAIN = 5


class Comparison:
    """Figures over a clip and the two videos of it; files appear when the block ends without an error.

    Args:
        paths: Where "reconstruction" and "side_by_side" go.
        size: (H, W) of the clip.
        fps: Frame rate of the videos.
        model: Name for the caption.
    """

    def __init__(self, paths: dict[str, Path], *, size: tuple[int, int], fps: Fraction, model: str) -> None:
        captions = ("original", model, f"error x{_ERROR_GAIN}")
        self._panels = Panels(size=size, captions=captions, error_gain=_ERROR_GAIN)
        self._stills = Stills(count=_STILLS)
        self._psnr, self._ssim = PSNR(), SSIM() if min(size) >= _SMALLEST_FOR_SSIM else None
        self._frame_psnr = array("f")
        self._video = paths["side_by_side"]
        self._reconstruction = VideoWriter(paths["reconstruction"], fps=fps)
        self._side_by_side = VideoWriter(paths["side_by_side"], fps=fps)
        self._start: Fraction | None = None
        self._open = ExitStack()

    def __enter__(self) -> Comparison:
        self._open.enter_context(self._reconstruction)
        self._open.enter_context(self._side_by_side)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, pair: Pair) -> None:
        """Take in the next frames."""
        got, want = to_float(pair.reconstruction), to_float(pair.original)
        self._frame_psnr.extend(self._psnr.update(got, want).flatten().tolist())
        if self._ssim is not None:
            self._ssim.update(got, want)
        panels = self._panels.compose(pair.original, pair.reconstruction)
        self._stills.add(panels)
        self._start = pair.pts_seconds[0] if self._start is None else self._start
        times = [time - self._start for time in pair.pts_seconds]
        self._reconstruction.write(pair.reconstruction, pts_seconds=times)
        self._side_by_side.write(panels, pts_seconds=times)

    def figures(self) -> dict[str, Any]:
        """PSNR and SSIM of 8-bit frames, before any video codec; SSIM is None where frames are smaller than 11x11."""
        return {
            "psnr": round(self._psnr.compute(), 4),
            "psnr_mean_over_frames": round(self._psnr.mean_over_frames(), 4),
            "ssim": None if self._ssim is None else round(self._ssim.compute(), 6),
        }

    def page(self, title: str, rows: dict[str, str]) -> str:
        """The report as HTML, once the block has ended: it holds the video."""
        return clip_page(
            title,
            rows,
            frame_psnr=self._frame_psnr,
            stills=self._stills,
            video=self._video,
            panels=self._panels,
        )
