"""A pipeline takes less memory with an adopted autoencoder, and makes the same video; figures are printed with `-s`."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from narrow_models import theirs
from tiny_pipelines import PIPELINES, run

from vidlatent.integrations.diffusers import adopt
from vidlatent.streaming.heap import return_free_heap

LARGE = {
    "WanPipeline": {"height": 192, "width": 320, "num_frames": 17},
    "HunyuanVideoPipeline": {"height": 192, "width": 256, "num_frames": 17},
    "LTXPipeline": {"height": 384, "width": 512, "num_frames": 25},
    "CogVideoXPipeline": {"height": 192, "width": 256, "num_frames": 17},
    "MochiPipeline": {"height": 128, "width": 192, "num_frames": 13},
}


def resident(field: str) -> int:
    """Bytes of this process: now (VmRSS), or at the peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def run_here(name: str, memory: int | None, folder: Path) -> int:
    """What one run adds at its peak to this process; `memory` is for the autoencoder, None leaves theirs in place."""
    torch.manual_seed(0)
    pipe, call = PIPELINES[name].make(theirs(PIPELINES[name].preset)), PIPELINES[name].call
    pipe = pipe if memory is None else adopt(pipe, memory=memory)
    run(pipe, call)  # small: what is loaded at first use
    return_free_heap()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew here
    video = run(pipe, call | LARGE[name])
    peak = resident("VmHWM") - before
    torch.save(video, folder / f"{memory is None}.pt")
    return peak


def peak_of(*args: object) -> int:
    """The same in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(run_here, args)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:In CPU autocast")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("name", LARGE)
def test_half_the_memory_makes_the_same_video(name: str, tmp_path: Path) -> None:
    theirs_takes = peak_of(name, None, tmp_path)
    ours_takes = peak_of(name, theirs_takes // 2, tmp_path)
    want, got = (torch.load(tmp_path / f"{which}.pt") for which in (True, False))
    print(f"\n{name} {LARGE[name]}: diffusers {theirs_takes >> 20} MiB, adopted {ours_takes >> 20} MiB", end=" ")
    assert (got - want).abs().max() <= 1e-4
    assert want.std() > 0.01
    assert ours_takes < 0.6 * theirs_takes
