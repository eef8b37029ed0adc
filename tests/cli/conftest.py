"""A narrow model and a small clip on disk, and two ways to run the command: here, and as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import vidlatent
from vidlatent.autoencoders import save_checkpoint
from vidlatent.cli.app import app

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "narrow.safetensors"
    narrow = {
        "encoder_widths": (16, 16),
        "decoder_widths": (16, 16),
        "encoder_blocks": (1, 1),
        "decoder_blocks": (1, 1),
    }
    save_checkpoint(vidlatent.build("vidlatent-tiny", **narrow), path)
    return path


def write_pattern(path: Path, frames: int) -> Path:
    """A 64x64 clip of `frames` frames at 25 per second, written in pieces."""
    t, y, x = torch.meshgrid(torch.arange(50), torch.arange(64), torch.arange(64), indexing="ij")
    planes = [torch.sin(0.3 * x + 0.2 * t), torch.cos(0.25 * y - 0.3 * t), torch.sin(0.1 * (x + y) + 0.5 * t)]
    piece = ((torch.stack(planes, -1) + 1) * 127.5).round().to(torch.uint8)
    pieces = (piece[: min(50, frames - start)] for start in range(0, frames, 50))
    return vidlatent.write_video(path, pieces, fps=Fraction(25), crf=30)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clip") / "clip.mp4", 30)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clip") / "long.mp4", 3000)


Here = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here() -> Here:
    """Run the command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def process() -> Process:
    """Run the command as a user does."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vidlatent", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, check=False)

    return run
