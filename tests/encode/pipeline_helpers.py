"""Small clips and a narrow autoencoder for the tests of the pipeline."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

import vidlatent
from vidlatent.autoencoders import Autoencoder


def narrow() -> Autoencoder:
    return vidlatent.build(
        "vidlatent-tiny", encoder_widths=(16, 16), decoder_widths=(16, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1)
    )


def moving(frames: int, *, height: int = 40, width: int = 56) -> Tensor:
    """A pattern that moves, uint8 (T, H, W, 3)."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij")
    planes = [torch.sin(0.3 * x + 0.2 * t), torch.cos(0.25 * y - 0.3 * t), torch.sin(0.1 * (x + y) + 0.5 * t)]
    return ((torch.stack(planes, -1) + 1) * 127.5).round().to(torch.uint8)


def make_clip(path: Path, frames: int, *, fps: Fraction | int = 25, times: Sequence[Fraction] | None = None) -> Path:
    return vidlatent.write_video(path, moving(frames), fps=fps, pts_seconds=times)


def read_clip(path: Path) -> tuple[Tensor, list[Fraction]]:
    with vidlatent.open_video(path) as source:
        clips = list(source)
    return torch.cat([clip.frames for clip in clips]), [time for clip in clips for time in clip.pts_seconds]
