"""What tests of all rooms share: where the real clips are, and programs to compare with."""

import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidlatent.metrics import flow

torch.set_num_threads(1)  # tests run in parallel, one process a core; and their results repeat bit for bit
sys.path.insert(0, str(Path(__file__).parent / "streaming"))  # sweep_helpers serve three folders


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers whenever and beside whatever it runs."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _missing(what: str) -> None:
    """Skip on a workstation, fail in CI: there a missing part would hide a test for good."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real clips."""
    folder = os.environ.get("VIDLATENT_DATA")
    if not folder:
        _missing("VIDLATENT_DATA does not name the folder of real clips")
    path = Path(str(folder))
    if not path.is_dir():
        _missing(f"VIDLATENT_DATA={folder} is not a folder")
    return path


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The ffmpeg program, as a second opinion."""
    program = shutil.which("ffmpeg")
    if program is None:
        _missing("the ffmpeg program is not installed")
    return str(program)


@pytest.fixture
def flows_found(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """A frame for every optical flow that is computed from here on."""
    found: list[torch.Tensor] = []

    def counted(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        found.append(source)
        return find(source, target)

    find = flow.bounded_flow
    monkeypatch.setattr(flow, "bounded_flow", counted)
    return found
