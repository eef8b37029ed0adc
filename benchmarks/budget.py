"""A budget is kept and costs little: peak memory and processor time at shares of what the whole-clip pass takes.

    python benchmarks/budget.py [--model vidlatent-tiny] [--direction decode] [--shares 2 4 8 16] [--rounds 2]
                                [--threads 1] [--device cpu] [--json]

Each pass runs in a process of its own. Memory is resident memory above what the libraries take: weights, clip, state,
activations and answer, which is what a budget means; where clip and answer alone exceed it, frames are streamed. Of
`--rounds` rounds of both passes, one after the other, the larger peak counts and the fewer seconds. "time" is over the
whole-clip pass, "error" relative to it; "system_seconds" are the kernel's part of both, mostly for handing out fresh
pages. On CUDA (`--device cuda`) memory is the peak of torch's allocator.

Other families (`--model hunyuan-video`) are as narrow as in `families.py`, their clips four times as long and twice as
high and wide.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import held_and_peak_bytes

import vidlatent as vl
from vidlatent.testing import relative_error


@dataclass(frozen=True)
class Case:
    """A model and a clip (T, H, W) large enough that a sixteenth of its peak is more than its weights."""

    model: str
    clip: tuple[int, int, int]
    overrides: tuple[tuple[str, Any], ...] = ()


CASES = {
    "vidlatent-tiny": Case("vidlatent-tiny", (65, 720, 1280)),
    "wan-2.1": Case("wan-2.1", (33, 384, 384), (("base_dim", 32),)),
}


def case_of(name: str) -> Case:
    """One of the above, or the narrow one of another family."""
    if name in CASES:
        return CASES[name]
    from families import CASES as NARROW  # which needs diffusers

    narrow = NARROW[name]
    spec = vl.build(name, **narrow.overrides).latent_spec
    frames, height, width = narrow.clip
    longer = spec.num_frames(4 * spec.num_latent_frames(frames))
    return Case(name, (longer, 2 * height, 2 * width), tuple(narrow.overrides.items()))


MAKING: list[float] = []
"""Seconds spent on making the frames of a stream, which a whole clip has ready."""


def action(
    case: Case, direction: str, memory: int | None, streamed: bool, folder: str, device: str
) -> Callable[[], None]:
    """One pass, ready to go; leaves its answer and its processor seconds in `folder`."""
    clock = clock_of(device)
    ae = load(case).to(device)
    x = None if streamed else whole_input(ae, case, direction).to(device)

    def measured() -> None:
        MAKING.clear()
        started, system = clock(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
        with open(Path(folder, "answer"), "wb") as file:
            for part in pieces(ae, case, direction, memory, x):
                for frame in part[0].unbind(1):
                    for channel in frame:  # copied for the file: one at a time, as the copy is not the model's
                        channel.cpu().contiguous().numpy().tofile(file)
                        del channel
                    del frame
        if device != "cpu":
            Path(folder, "cuda").write_text(str(torch.cuda.max_memory_allocated()))
        system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - system
        Path(folder, "seconds").write_text(f"{clock() - started - sum(MAKING)} {system}")

    if memory is not None:  # plans are remembered: planning is timed apart
        started = time.process_time()
        predicted(ae, case, direction, memory, streamed=streamed)
        Path(folder, "planning").write_text(str(time.process_time() - started))
    return measured


def pieces(
    ae: vl.Autoencoder, case: Case, direction: str, memory: int | None, x: torch.Tensor | None
) -> Iterator[torch.Tensor]:
    """The answer: at once from a clip in memory, or piece by piece from frames that are made as they are needed."""
    if x is not None:
        yield ae.encode(x, memory=memory).mean if direction == "encode" else ae.decode(x, memory=memory)
        return
    assert memory is not None
    plan = predicted(ae, case, direction, memory, streamed=True)
    stream = ae.stream_encoder(plan) if direction == "encode" else ae.stream_decoder(plan)
    frames, clock = range(length(ae, case, direction)), clock_of(ae.device.type)
    for start in range(0, len(frames), plan.chunk):
        begun = clock()
        part = run_of(ae, case, direction, frames[start : start + plan.chunk])
        MAKING.append(clock() - begun)
        yield mean(ae, direction, stream.push(part))
        del part
    for part in stream.drain():
        yield mean(ae, direction, part)


def clock_of(device: str) -> Callable[[], float]:
    """Processor time where the processor does the work."""
    return time.process_time if device == "cpu" else time.perf_counter


def mean(ae: vl.Autoencoder, direction: str, part: torch.Tensor) -> torch.Tensor:
    """Streams of encoders give moments."""
    return part[:, : ae.latent_spec.channels] if direction == "encode" else part


def load(case: Case) -> vl.Autoencoder:
    """The autoencoder, with its own weights or random ones."""
    return vl.build(case.model, **dict(case.overrides)) if case.overrides else vl.load(case.model)


def length(ae: vl.Autoencoder, case: Case, direction: str) -> int:
    """Frames of the input."""
    return case.clip[0] if direction == "encode" else ae.latent_spec.num_latent_frames(case.clip[0])


def whole_input(ae: vl.Autoencoder, case: Case, direction: str) -> torch.Tensor:
    """All frames of the input."""
    return run_of(ae, case, direction, range(length(ae, case, direction)))


def run_of(ae: vl.Autoencoder, case: Case, direction: str, frames: range) -> torch.Tensor:
    """Some frames of the input, with no more than one of them beside it."""
    shape = item(ae, case, direction, 0).shape
    x = torch.empty(*shape[:2], len(frames), *shape[3:])
    for place, index in enumerate(frames):
        x[:, :, place : place + 1] = item(ae, case, direction, index)
    return x


def item(ae: vl.Autoencoder, case: Case, direction: str, index: int) -> torch.Tensor:
    """One frame of the input, always the same."""
    generator, (_, h, w) = torch.Generator().manual_seed(index), case.clip
    if direction == "encode":
        return torch.rand(1, 3, 1, h, w, generator=generator).mul_(2).sub_(1)
    return torch.randn(1, ae.latent_spec.channels, 1, *ae.latent_spec.latent_size(h, w), generator=generator)


def predicted(ae: vl.Autoencoder, case: Case, direction: str, memory: int, *, streamed: bool) -> vl.Plan:
    """The plan for a budget."""
    _, h, w = case.clip
    size = (h, w) if direction == "encode" else ae.latent_spec.latent_size(h, w)
    channels = 3 if direction == "encode" else ae.latent_spec.channels
    return ae.plan((1, channels, length(ae, case, direction), *size), memory, direction, streaming=streamed)


def measure(
    case: Case, direction: str, memory: int | None, folder: str, device: str, *, streamed: bool = False
) -> dict[str, float]:
    """Peak and seconds of one pass."""
    peak = held_and_peak_bytes(action, case, direction, memory, streamed, folder, device)
    if device != "cpu":
        peak = int(Path(folder, "cuda").read_text())
    seconds, system = map(float, Path(folder, "seconds").read_text().split())
    return {"peak": peak, "seconds": seconds, "system": system}


def fitting(ae: vl.Autoencoder, case: Case, direction: str, budget: int) -> tuple[vl.Plan, bool]:
    """A plan for the clip in memory, or for a stream of its frames where the budget is too small for the clip."""
    try:
        return predicted(ae, case, direction, budget, streamed=False), False
    except vl.BudgetTooSmall:
        return predicted(ae, case, direction, budget, streamed=True), True


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The largest peak, and the rest of the quickest round."""
    return min(rounds, key=lambda row: row["seconds"]) | {"peak": max(row["peak"] for row in rounds)}


def rows(name: str, direction: str, shares: list[int], rounds: int, device: str) -> Iterator[dict[str, object]]:
    """One row a share, of the peak of the whole-clip pass."""
    case = case_of(name)
    ae = load(case).to(device)
    with tempfile.TemporaryDirectory() as folder:
        wholes = [measure(case, direction, None, folder, device)]
        want = torch.from_file(str(Path(folder, "answer")), size=Path(folder, "answer").stat().st_size // 4).clone()
        peak = wholes[0]["peak"]
        known = {"model": name, "direction": direction, "clip": case.clip, "whole_MiB": round(peak / 2**20)}
        for share in shares:
            budget = int(peak / share)
            row = {**known, "share": f"1/{share}", "budget_MiB": round(budget / 2**20)}
            try:
                plan, streamed = fitting(ae, case, direction, budget)
            except vl.BudgetTooSmall as error:
                yield {**row, "kept": None, "plan": f"too small: {error.smallest_bytes / 2**20:.0f} MiB would do"}
                continue
            tried = [measure(case, direction, budget, folder, device, streamed=streamed)]
            answer = torch.from_file(str(Path(folder, "answer")), size=want.numel()).clone()
            for _ in range(rounds - 1):
                wholes.append(measure(case, direction, None, folder, device))
                tried.append(measure(case, direction, budget, folder, device, streamed=streamed))
            got, whole = best(tried), best(wholes)
            yield row | {
                "measured_MiB": round(got["peak"] / 2**20),
                "predicted_over_measured": round(plan.peak_bytes / got["peak"], 3),
                "kept": got["peak"] <= budget,
                "time": round(got["seconds"] / whole["seconds"], 3),
                "whole_seconds": round(whole["seconds"], 2),
                "system_seconds": [round(part["system"], 2) for part in (whole, got)],
                "planning_seconds": round(float(Path(folder, "planning").read_text()), 2),
                "error": relative_error(answer, want),
                "plan": str(plan) + (", streamed" if streamed else ""),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--model", action="append", help="this one")
    parser.add_argument("--direction", choices=("encode", "decode"), action="append", help="only this one")
    parser.add_argument("--shares", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = []
    for name in args.model or CASES:
        for direction in args.direction or ("encode", "decode"):
            for row in rows(name, direction, args.shares, args.rounds, args.device):
                table.append(row)
                if not args.json:
                    print(*(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)
    print(json.dumps({"benchmark": "budget", "threads": args.threads, "device": args.device, "rows": table}))


if __name__ == "__main__":
    main()
