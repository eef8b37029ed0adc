"""What the report shows of a clip: original, reconstruction and amplified error in one video, and the worst frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from vidlatent.files import PartialFile
from vidlatent.io import VideoWriter

ERROR_GAIN = 5
_CRF = 20


class Preview:
    """Writes both files when the block ends without an error. The panels lie side by side, without gaps.

    One video rather than three keeps them on the same frame in every browser.
    """

    def __init__(self, video: Path, still: Path, *, enabled: bool) -> None:
        self._video, self._still, self._enabled = video, still, enabled
        self.fps = Fraction(24)
        self.worst_frame: int | None = None
        self._worst: Tensor | None = None
        self._worst_error, self._count = -1.0, 0
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Preview:
        return self

    def add(self, got: Tensor, want: Tensor) -> None:
        """Take in the next frames, uint8 (T, H, W, 3)."""
        H, W = (max(side // 2 * 2, 1) for side in got.shape[1:3])  # browsers play 4:2:0, which has even sides
        got, want = got[:, :H, :W], want[:, :H, :W]
        difference = (got.to(torch.int16) - want).abs()
        panels = torch.cat([want, got, (difference * ERROR_GAIN).clamp_max(255).to(torch.uint8)], 2)
        for index, error in enumerate(difference.float().square().mean((1, 2, 3)).tolist()):
            if error > self._worst_error:
                self._worst_error, self._worst, self.worst_frame = error, panels[index].clone(), self._count + index
        self._count += len(got)
        if not self._enabled:
            return
        if self._writer is None:
            self._video.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self._video, fps=self.fps, crf=_CRF, num_threads=1)
            self._writer.__enter__()
        self._writer.write(panels)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)
        if error is None and self._worst is not None and self._enabled:
            self._save_still(self._worst)

    def _save_still(self, panels: Tensor) -> None:
        from PIL import Image

        self._still.parent.mkdir(parents=True, exist_ok=True)
        with PartialFile(self._still) as partial:
            Image.fromarray(panels.numpy()).save(partial, quality=85)
