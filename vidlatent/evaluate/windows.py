"""What needs more than one slab of a clip at once: features of windows, and VMAF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent import metrics
from vidlatent.errors import InputError
from vidlatent.evaluate.job import Row
from vidlatent.files import write_tensors
from vidlatent.io import to_float


class Windows:
    """Windows of frames as features, kept in a file so that sets can be compared once all clips are done.

    `extractor` None leaves them out; `vmaf` has ffmpeg compare the frames, which takes all of them.
    """

    def __init__(self, extractor: Any, path: Path, *, vmaf: bool) -> None:
        self._extractor, self._path, self._vmaf = extractor, path, vmaf
        self._held: dict[str, list[Tensor]] = {"got": [], "want": []}
        self._features: dict[str, list[Tensor]] = {"got": [], "want": []}
        self._frames: list[list[Tensor]] = []

    def add(self, got: Tensor, want: Tensor) -> None:
        """Take in the next frames, uint8 (T, H, W, 3)."""
        if self._vmaf:
            self._frames.append([got, want])
        if self._extractor is None:
            return
        length = self._extractor.num_frames
        for name, frames in (("got", got), ("want", want)):
            held = torch.cat([*self._held[name], frames])
            while len(held) >= length:
                self._features[name].append(self._extractor(to_float(held[:length])))
                held = held[length:]
            self._held[name] = [held.clone()]

    def finish(self) -> Row:
        """Write the features and return what goes into the row. Raises `InputError` for fewer frames than a window."""
        row: Row = {}
        if self._vmaf:
            got, want = (torch.cat([pair[side] for pair in self._frames]) for side in (0, 1))
            row["vmaf"] = metrics.vmaf(got, want)
        if self._extractor is not None:
            if not self._features["got"]:
                given = sum(len(held) for held in self._held["got"])
                raise InputError(
                    f"{self._extractor.name} takes {self._extractor.num_frames} frames, the protocol {given}: "
                    "take more frames, or no features"
                )
            write_tensors(self._path, {name: torch.cat(parts) for name, parts in self._features.items()}, {})
        return row
