"""Time alternatives side by side and measure the memory each needs, so that a noisy machine favours none."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import vidlatent as vl
from vidlatent.streaming import T
from vidlatent.streaming.heap import return_free_heap

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


def paired_times_apart(
    setups: Mapping[str, tuple[Callable[..., Action], tuple[Any, ...]]], rounds: int
) -> dict[str, list[float]]:
    """As `paired_times`, of `setup(*args)()` in a process for each, as a budget sets the allocator of its own."""
    context, threads = multiprocessing.get_context("fork"), torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        pools = {
            name: stack.enter_context(context.Pool(1, _make_ready, (setup, args, threads)))
            for name, (setup, args) in setups.items()
        }
        rows = [{name: pool.apply(_seconds) for name, pool in pools.items()} for _ in range(rounds + 1)]
    return {name: [row[name] for row in rows[1:]] for name in setups}


_ready: Action


def _make_ready(setup: Callable[..., Action], args: tuple[Any, ...], threads: int) -> None:
    global _ready
    torch.set_num_threads(threads)
    _ready = setup(*args)


def _seconds() -> float:
    started = time.process_time()
    with torch.no_grad():
        _ready()
    return time.process_time() - started


def in_process(function: Callable[..., Any], *args: Any) -> Any:
    """What `function(*args)` gives in a process that ends with it, and takes its memory along."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, args)


def median_ratio(over: list[float], under: list[float]) -> float:
    """Median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def peak_bytes(setup: Callable[..., Action], *args: Any) -> int:
    """Resident memory that `setup(*args)()` adds at its peak, in a process of its own; not what `setup` needs."""
    return _in_own_process(_peak_here, setup, args)


def held_and_peak_bytes(setup: Callable[..., Action], *args: Any, start: str = "spawn") -> int:
    """Resident memory at the peak of `setup(*args)()`, with what `setup` leaves: weights, input, run and answer.

    This is what a memory budget means. In a process of its own, above what the libraries take once they have run
    something small; the passing needs of `setup` itself do not count. `start="fork"` saves each process its imports, if
    the caller's has run next to nothing.
    """
    return _in_own_process(_held_and_peak_here, setup, args, start)


def _in_own_process(
    measure: Callable[..., int], setup: Callable[..., Action], args: tuple[Any, ...], start: str = "spawn"
) -> int:
    with multiprocessing.get_context(start).Pool(1) as pool:
        return pool.apply(measure, (setup, args, torch.get_num_threads()))


def _peak_here(setup: Callable[..., Action], args: tuple[Any, ...], num_threads: int) -> int:
    torch.set_num_threads(num_threads)
    action = setup(*args)
    return _peak_above(resident_bytes("VmRSS"), action)


def _held_and_peak_here(setup: Callable[..., Action], args: tuple[Any, ...], num_threads: int) -> int:
    torch.set_num_threads(num_threads)
    _warm_libraries()
    before = resident_bytes("VmRSS")
    action = setup(*args)
    return_free_heap()
    return _peak_above(before, action)


def _peak_above(before: int, action: Action) -> int:
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew here
    with torch.no_grad():
        action()
    return resident_bytes("VmHWM") - before


def _warm_libraries() -> None:
    """Load what is loaded at first use and stays: code of operators, planning, file formats; matrix products."""
    vl.load("vidlatent-tiny")
    ae = vl.build("wan-2.1", base_dim=8)
    with contextlib.suppress(vl.BudgetTooSmall):  # which it finds out in the end
        ae.plan((1, 16, 9, 32, 32), 1, "decode")
    with torch.no_grad():
        ae.decode(ae.encode(torch.rand(1, 3, 5, 32, 32)).mean, plan=vl.Plan((T,), chunk=1))
        for size in (64, 1024):
            rows = torch.rand(size, size)
            torch.nn.functional.linear(rows, rows, rows[0])
    return_free_heap()


def resident_bytes(field: str) -> int:
    """A line of this process's status: resident memory now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
