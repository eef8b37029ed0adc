"""A folder with two small clips of moving patterns."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from vidlatent.io import write_video


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    t, y, x = torch.meshgrid(torch.arange(24), torch.arange(48), torch.arange(64), indexing="ij")
    for name, speed in (("slow", 0.1), ("fast", 0.4)):
        planes = [torch.sin(0.2 * x + speed * t), torch.cos(0.15 * y - speed * t), torch.sin(0.1 * (x + y) + speed * t)]
        frames = ((torch.stack(planes, -1) + 1) * 127.5).round().to(torch.uint8)
        write_video(folder / f"{name}.mp4", frames, fps=Fraction(24), crf=12)
    return folder
