"""VMAF by the ffmpeg program, where it is there and was built with libvmaf."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

from torch import Tensor

from vidlatent.errors import InputError, MissingDependency


@cache
def vmaf_version() -> str | None:
    """First line of `ffmpeg -version` where that program has the libvmaf filter, else None."""
    if shutil.which("ffmpeg") is None:
        return None
    filters = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
    if " libvmaf " not in filters.stdout:
        return None
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False)
    return version.stdout.splitlines()[0]


def vmaf(got: Tensor, want: Tensor, *, fps: Fraction | int = 24) -> float:
    """VMAF (0 to 100, more is better) of frames, uint8 (T, H, W, 3), by ffmpeg's libvmaf with its default model.

    Raises `MissingDependency` where ffmpeg lacks it, `InputError` for frames of different shapes.
    """
    if vmaf_version() is None:
        raise MissingDependency("ffmpeg with libvmaf (a program, not a Python package)", "evaluate")
    log = _compare(got, want, "libvmaf=log_fmt=json:log_path=vmaf.json", fps=fps, log="vmaf.json")
    return float(json.loads(log)["pooled_metrics"]["vmaf"]["mean"])


def _compare(got: Tensor, want: Tensor, graph: str, *, fps: Fraction | int, log: str) -> str:
    """Run a filter that compares two videos, and return what it wrote to its log."""
    if got.shape != want.shape or got.ndim != 4:
        raise InputError(f"expected frames (T, H, W, 3) of one shape, got {tuple(got.shape)}, {tuple(want.shape)}")
    H, W = got.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        inputs: list[str] = []
        for name, frames in (("got", got), ("want", want)):
            Path(folder, name).write_bytes(frames.cpu().contiguous().numpy().tobytes())
            inputs += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{W}x{H}", "-r", str(fps), "-i", name]
        command = ["ffmpeg", "-hide_banner", "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"ffmpeg failed: {(done.stderr.strip().splitlines() or ['without a reason'])[-1]}")
        return Path(folder, log).read_text()
