import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run_ffmpeg(ffmpeg: str, tmp_path: Path) -> Callable[..., Path]:
    """Run ffmpeg on arguments, the last one a file name; returns that file in a temporary folder."""

    def run(*arguments: str) -> Path:
        target = tmp_path / arguments[-1]
        command = [ffmpeg, "-v", "error", "-y", *arguments[:-1], str(target)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return target

    return run
