"""A folder of two clips and a narrow model."""

from pathlib import Path

import pytest
from evaluate_helpers import write_clip, write_model


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "slow.mp4", speed=0.1)
    write_clip(folder / "fast.mp4", 12, speed=0.6)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "narrow.safetensors")
