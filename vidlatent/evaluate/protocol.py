"""What must agree for two numbers to be comparable, in one hash that travels with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from vidlatent.config import RunConfig
from vidlatent.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".264", ".m4v", ".gif")
METRIC_VERSIONS = {
    "psnr": "8-bit RGB, error over all values, 1",
    "ssim": "Wang 2004, RGB channels equally, valid windows, 1",
    "ms_ssim": "Wang 2003, RGB channels equally, valid windows, 1",
    "flicker": "mean |e(t+1) - e(t)|, 1",
    "warped_error": "pyramidal Lucas-Kanade of at most 576 pixels on the shorter side, soft mask, 2",
    "seam": "error gradient at slab borders over elsewhere, 1",
    "rate": "int8 of 5 sigma a channel, order-0 entropy, 1",
    "spectrum": "DCT-II of every 8th frame, 24 bands, 1",
}


class Protocol(RunConfig):
    """The measurement: which clips, which frames of them, and by which metrics.

    `size` is (H, W), covered and cut in the middle, None each clip's own; `fps` None keeps a clip's own frames. `clips`
    are file names with the sha256 of their contents.
    """

    clips: tuple[tuple[str, str], ...]
    frames: int = Field(33, ge=1)
    size: tuple[int, int] | None = (256, 256)
    fps: str | None = None
    resize: str = "torch antialiased bicubic (a = -0.5) on 8-bit RGB, cover and centre crop"
    perceptual: str = "laplacian"
    features: str | None = None
    probe: bool = False
    vmaf: str | None = None
    metrics: dict[str, str] = METRIC_VERSIONS

    @property
    def hash(self) -> str:
        """Of everything above."""
        return _digest(self.model_dump(mode="json"))

    def with_candidates(self, fingerprints: dict[str, str]) -> str:
        """Hash of the protocol together with what was measured under it."""
        return _digest([self.hash, sorted(fingerprints.items())])

    def check_same(self, other: Protocol) -> None:
        """Raise `InputError` naming what differs between this protocol and that of earlier results."""
        ours, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        differing = [name for name in ours if ours[name] != theirs[name]]
        if differing:
            shown = "; ".join(f"{name}: {_short(theirs[name])} there, {_short(ours[name])} here" for name in differing)
            raise InputError(f"the folder holds results of another protocol, and the two never merge ({shown})")


def find_clips(source: Path) -> list[Path]:
    """The videos that `source` names: a file, a folder, or a text file with one path a line, relative to itself.

    Raises `InputError` if there are none.
    """
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    elif source.suffix == ".txt" and source.is_file():
        lines = (line.strip() for line in source.read_text(encoding="utf-8").splitlines())
        found = [source.parent / line for line in lines if line and not line.startswith("#")]
    else:
        found = [source]
    missing = [path for path in found if not path.is_file()]
    if missing or not found:
        reason = f"no such file: {missing[0]}" if missing else f"no videos ({', '.join(VIDEO_SUFFIXES)})"
        raise InputError(f"{source}: {reason}")
    return found


def identified(paths: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """File names, made different where they are not, with the hash of their contents."""
    names: list[str] = []
    for path in paths:
        names.append(path.name if path.name not in names else f"{path.parent.name}/{path.name}#{len(names)}")
    return tuple((name, _file_hash(path)) for name, path in zip(names, paths, strict=True))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:40]}... ({_digest(value)[:6]})"
