"""Time per latent frame and peak memory of a rollout after 50, 500 and 5,000 frames, against the full sequence.

Three rollouts of one model stand at those frames and take turns, so that a noisy machine favours none. Memory is that
of rollouts of as many frames from the start, each in a process of its own, beside a model of the same size in which
all frames see each other (so no mask is held) sampled as one sequence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch
from measure import peak_bytes

from vidlatent.diffusion import Rollout, Schedule, VideoDiT, VideoDiTConfig, autoregressive, full_sequence, rollout

LENGTHS = (50, 500, 5000)
SIZE, WINDOW, STEPS = (8, 8), 8, 2
MIB = 1 << 20


def model(*, causal: bool) -> VideoDiT:
    """Random weights; 16 tokens a frame, which see themselves and, where causal, 8 frames before."""
    torch.manual_seed(0)
    window = WINDOW if causal else None
    return VideoDiT(VideoDiTConfig(channels=16, dim=64, depth=2, heads=2, causal=causal, window=window)).eval()


def begin(schedule: Schedule, frames: int | None = None) -> Rollout:
    return rollout(model(causal=schedule.block is not None), schedule=schedule, size=SIZE, num_frames=frames)


def drained(schedule: Schedule, frames: int) -> Callable[[], None]:
    """An action that makes that many frames and keeps none."""
    made = begin(schedule, frames)

    def run() -> None:
        for _ in made:
            pass

    return run


def times_per_frame(lengths: tuple[int, ...], rounds: int) -> dict[int, list[float]]:
    """Processor seconds of the frames that follow frame `length`, each round one frame of every rollout in turn."""
    standing = {length: begin(autoregressive(STEPS)) for length in lengths}
    ahead = standing[max(lengths)]
    for i in range(max(lengths)):  # one rollout goes all the way and leaves its state where the others begin
        if i in standing:
            standing[i].load_state_dict(ahead.state_dict())
        next(ahead)
    times: dict[int, list[float]] = {length: [] for length in lengths}
    order = itertools.cycle(itertools.permutations(lengths))
    for _ in range(rounds):
        for length in next(order):
            started = time.process_time()
            next(standing[length])
            times[length].append(time.process_time() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--full", type=int, nargs="+", default=[50, 500], help="lengths of full sequences")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lengths = tuple(args.lengths)
    times = times_per_frame(lengths, args.rounds)
    first = lengths[0]
    rows = [
        {
            "frames": length,
            "seconds_per_frame": round(statistics.median(times[length]), 5),
            "time_ratio": round(statistics.median(times[length]) / statistics.median(times[first]), 3),
            "peak_MiB": round(peak_bytes(drained, autoregressive(STEPS), length) / MIB, 1),
        }
        for length in lengths
    ]
    full = [{"frames": n, "peak_MiB": round(peak_bytes(drained, full_sequence(1), n) / MIB, 1)} for n in args.full]
    for row in rows:
        row["memory_ratio"] = round(row["peak_MiB"] / rows[0]["peak_MiB"], 3)
    for row in full:
        row["over_rollout"] = round(row["peak_MiB"] / rows[-1]["peak_MiB"], 2)
    if not args.json:
        for row in rows:
            line = "rollout, {frames:5} frames: {seconds_per_frame} s a frame ({time_ratio}x), {peak_MiB} MiB"
            print(f"{line} ({{memory_ratio}}x)".format(**row))
        for row in full:
            print(
                "full sequence, {frames:5} frames: {peak_MiB} MiB ({over_rollout}x the longest rollout)".format(**row)
            )
    print(json.dumps({"benchmark": "rollout", "threads": args.threads, "rollout": rows, "full_sequence": full}))


if __name__ == "__main__":
    main()
