"""A narrow model and a small clip on disk, and two ways to run the command: here, and as a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import ENVIRONMENT, Here, Process, write_pattern
from typer.testing import CliRunner

import vidlatent
from vidlatent.autoencoders import save_checkpoint
from vidlatent.cli.app import app


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


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clip") / "clip.mp4", 30)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clip") / "long.mp4", 3000)


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
