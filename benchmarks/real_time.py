"""Whether an autoencoder keeps up with video: frames a second, encoded and decoded, over the clip's own rate.

    python benchmarks/real_time.py [--model vidlatent-tiny] [--video 49x256x256] [--fps 24] [--threads 2] [--json]

The median of interleaved rounds, by the clock: run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

import vidlatent as vl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--model", default="vidlatent-tiny")
    parser.add_argument("--video", default="49x256x256", help="frames x rows x columns")
    parser.add_argument("--fps", type=float, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ae, (frames, height, width) = vl.load(args.model), map(int, args.video.split("x"))
    video = torch.rand(1, 3, frames, height, width) * 2 - 1
    latents = ae.encode(video).mode()
    jobs = {"encode": lambda: ae.encode(video), "decode": lambda: ae.decode(latents)}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(args.rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    took = {name: statistics.median(times) for name, times in seconds.items()} | {
        "both": statistics.median(map(sum, zip(*seconds.values(), strict=True)))
    }
    row = {
        name: {"fps": round(frames / s, 1), "of_real_time": round(frames / s / args.fps, 2)} for name, s in took.items()
    }
    if not args.json:
        for name, figures in row.items():
            print(f"{name:7} {figures['fps']:7.1f} frames a second, {figures['of_real_time']:.2f}x real time")
    print(
        json.dumps({"benchmark": "real_time", "model": args.model, "video": args.video, "threads": args.threads, **row})
    )


if __name__ == "__main__":
    main()
