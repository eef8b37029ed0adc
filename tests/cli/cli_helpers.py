"""What the tests of the command line share that is no fixture."""

import os
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch
from typer.testing import Result

import vidlatent

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}

Here = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[str]]


def write_pattern(path: Path, frames: int) -> Path:
    """A 64x64 clip of `frames` frames at 25 per second, written in pieces."""
    t, y, x = torch.meshgrid(torch.arange(50), torch.arange(64), torch.arange(64), indexing="ij")
    planes = [torch.sin(0.3 * x + 0.2 * t), torch.cos(0.25 * y - 0.3 * t), torch.sin(0.1 * (x + y) + 0.5 * t)]
    piece = ((torch.stack(planes, -1) + 1) * 127.5).round().to(torch.uint8)
    pieces = (piece[: min(50, frames - start)] for start in range(0, frames, 50))
    return vidlatent.write_video(path, pieces, fps=Fraction(25), crf=30)
