"""Time alternatives side by side and measure the memory each needs, so that a noisy machine favours none."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Action = Callable[[], Any]


def paired_times(actions: Mapping[str, Action], rounds: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Processor seconds of every action in each of `rounds` interleaved rounds, by default after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + warm_up):
        for name, action in actions.items():
            started = time.process_time()
            action()
            if turn >= warm_up:
                times[name].append(time.process_time() - started)
    return times


def median_ratio(over: list[float], under: list[float]) -> float:
    """Median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def peak_bytes(setup: Callable[..., Action], *args: Any) -> int:
    """Resident memory that `setup(*args)()` adds at its peak, in a process of its own; not what `setup` needs."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (setup, args, torch.get_num_threads()))


def _peak_here(setup: Callable[..., Action], args: tuple[Any, ...], num_threads: int) -> int:
    torch.set_num_threads(num_threads)
    action = setup(*args)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew here
    before = _resident_bytes("VmRSS")
    with torch.no_grad():
        action()
    return _resident_bytes("VmHWM") - before


def _resident_bytes(field: str) -> int:
    """A line of this process's status: resident memory now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
