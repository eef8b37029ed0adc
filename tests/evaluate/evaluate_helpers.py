"""Small clips, a narrow model and a fast protocol; and workers that die."""

import os
import signal
from pathlib import Path
from typing import Any

import torch

import vidlatent
from vidlatent.autoencoders import save_checkpoint
from vidlatent.evaluate import Settings
from vidlatent.evaluate.job import Job, Row
from vidlatent.evaluate.jobs import failed_row

FAST: dict[str, Any] = {"frames": 9, "size": (48, 64), "settings": Settings(previews=False)}


def write_clip(path: Path, frames: int = 9, *, speed: float = 0.3) -> Path:
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(48), torch.arange(64), indexing="ij")
    planes = [torch.sin(0.3 * x + speed * t), torch.cos(0.25 * y - speed * t), torch.sin(0.1 * (x + y) + 0.5 * t)]
    return vidlatent.write_video(path, ((torch.stack(planes, -1) + 1) * 127.5).to(torch.uint8), fps=25)


def write_model(path: Path, *, seed: int = 0, spoil: bool = False) -> Path:
    narrow = {"encoder_widths": (8, 8), "decoder_widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1, 1)}
    ae = vidlatent.build("vidlatent-tiny", seed=seed, **narrow)
    if spoil:
        with torch.no_grad():
            next(ae.decoder.parameters()).fill_(float("nan"))
    save_checkpoint(ae, path)
    return path


def dies_on_second(job: Job) -> Row:
    """Stands in for a crash in a decoder, in the process of a worker."""
    if job.clip == "1.mp4":
        os.kill(os.getpid(), signal.SIGKILL)
    return failed_row(job, "reached")
