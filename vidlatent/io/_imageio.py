"""Reading animations through imageio's Pillow plugin: for animated WebP, which FFmpeg up to 8 cannot decode."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidlatent.errors import MissingDependency, VideoError

from .backend import Damage, Shown
from .clip import VideoSpec
from .pixels import over_black

# Browsers show frames that state no time for a tenth of a second.
_DEFAULT_MS = 100


class ImageioReader:
    """One image or animation as Pillow decodes it; transparency is laid over black.

    Raises:
        VideoError: Pillow cannot open the file, or its frames are too large.
        MissingDependency: imageio is not installed.
    """

    def __init__(self, path: Path, *, max_pixels: int) -> None:
        self._path = path
        image = self._open()
        try:
            properties = image.properties(index=...)
            num_frames, height, width = properties.shape[:3]
            kind = str(image.metadata(index=0, exclude_applied=False).get("mode", "RGB"))
            if height * width > max_pixels:
                raise VideoError(path, f"{width}x{height} pixels a frame, more than max_pixels={max_pixels:,}")
        finally:
            image.close()
        # Times are only known once a frame has been decoded, so the rate is that of the first frame.
        self.spec = _spec(path, width=width, height=height, num_frames=num_frames, kind=kind, step=Fraction(1, 10))
        first = next(iter(self.frames(Fraction(0))), None)
        if isinstance(first, Shown):
            step = first.duration_seconds
            self.spec = _spec(path, width=width, height=height, num_frames=num_frames, kind=kind, step=step)

    def _open(self) -> Any:
        try:
            import imageio.v3 as iio
        except ImportError as error:
            raise MissingDependency("imageio", "all") from error
        try:
            return iio.imopen(str(self._path), "r", plugin="pillow")
        except Exception as error:  # imageio wraps whatever Pillow raises, in several ways
            raise VideoError(self._path, f"Pillow cannot read it: {error.__cause__ or error}") from error

    def frames(self, start_seconds: Fraction) -> Iterator[Shown | Damage]:  # noqa: ARG002  (animations have no index)
        image = self._open()
        at = Fraction(0)
        try:
            for index, array in enumerate(image.iter(mode="RGBA")):
                milliseconds = image.metadata(index=index).get("duration") or _DEFAULT_MS
                duration = Fraction(round(milliseconds), 1000)
                picture = torch.from_numpy(array)
                yield Shown(pts_seconds=at, duration_seconds=duration, rgb=partial(over_black, picture))
                at += duration
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            yield Damage(f"Pillow stopped: {error}", at)
        finally:
            image.close()

    def close(self) -> None:
        """Nothing stays open between iterations."""


def _spec(path: Path, *, width: int, height: int, num_frames: int, kind: str, step: Fraction) -> VideoSpec:
    return VideoSpec(
        path=str(path),
        width=width,
        height=height,
        fps=1 / step,
        num_frames=num_frames,
        duration_seconds=None,
        start_seconds=Fraction(0),
        codec="pillow",
        container=path.suffix.lstrip(".").lower(),
        pix_fmt=kind,
        matrix="rgb",
        range="full",
        matrix_is_assumed=False,
        transfer="sdr",
        rotation=0,
        mirrored=False,
        pixel_aspect=Fraction(1),
        interlaced=False,
        has_audio=False,
    )
