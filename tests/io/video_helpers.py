"""Clips to write, and reading a file whole."""

from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidlatent.io import open_video


def smooth_frames(num_frames: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    """Moving blobs of colour without edges, so that 4:2:0 and a good codec change them little."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, max(2, num_frames // 8), 3, 4, generator=generator)
    video = interpolate(coarse, (num_frames, height, width), mode="trilinear", align_corners=True)
    return (video[0] * 200 + 28).round().to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def numbered_frames(num_frames: int, *, height: int = 32, width: int = 64) -> Tensor:
    """Frame k shows k as ten black or white bars, which survive any codec."""
    bits = (torch.arange(num_frames)[:, None] >> torch.arange(10)) & 1
    columns = (torch.arange(width) * 10 // width).clamp(max=9)
    rows = (bits[:, columns] * 220 + 16).to(torch.uint8)
    return rows[:, None, :, None].expand(num_frames, height, width, 3).contiguous()


def numbers(frames: Tensor) -> list[int]:
    """Read back what `numbered_frames` wrote."""
    width = frames.shape[2]
    centres = [(2 * bar + 1) * width // 20 for bar in range(10)]
    bits = frames[:, frames.shape[1] // 2, centres].float().mean(-1) > 127
    return (bits.long() << torch.arange(10)).sum(1).tolist()


def read_all(path: Path | str, **options: object) -> tuple[Tensor, list[Fraction]]:
    """Decode a whole window into one tensor."""
    with open_video(path, **{"num_threads": 1, **options}) as source:  # type: ignore[arg-type]
        clips = list(source)
    return torch.cat([clip.frames for clip in clips]), [at for clip in clips for at in clip.pts_seconds]
