"""A long clip and a large one within a budget: resident memory of the whole process, and processor time.

    python benchmarks/long_and_large.py [--clip large] [--direction decode] [--memory 1GiB] [--threads 1] [--json]

Frames are made as they are needed and answers dropped: the clip is nowhere as a whole. Each pass runs in a process of
its own; "peak" is all that was ever resident there, "base" what was before the first frame (interpreter, libraries,
weights): a budget is for weights, slabs, state and activations. "clip" is the video in float32, "file" the state
that lies in a temporary file (in `TMPDIR`, which should be on a disk), "seconds" processor time without that of
planning and making frames.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from math import prod

import torch
from measure import resident_bytes

import vidlatent as vl

CLIPS = {"large": (17, 2160, 3840), "long": (10_000, 128, 128)}
"""T, H, W."""
Figures = dict[str, object]


def run(direction: str, clip: tuple[int, int, int], memory: str, threads: int) -> Figures:
    """One pass in this process, and what it took."""
    torch.set_num_threads(threads)
    ae = vl.load("vidlatent-tiny")
    base, encodes = resident_bytes("VmHWM"), direction == "encode"
    channels, (t, h, w) = (3, clip) if encodes else (ae.latent_spec.channels, ae.latent_grid(clip))
    plan = ae.plan((1, channels, t, h, w), memory, direction, streaming=True)
    stream = ae.stream_encoder(plan) if encodes else ae.stream_decoder(plan, size=clip[1:])
    making, num_out, started = 0.0, 0, time.process_time()
    for first in range(0, t, plan.chunk):
        begun = time.process_time()
        slab = waves(first, (1, channels, min(plan.chunk, t - first), h, w))
        making += time.process_time() - begun
        num_out += stream.push(slab).shape[2]
        del slab
    num_out += sum(part.shape[2] for part in stream.drain())
    seconds, peak = time.process_time() - started - making, resident_bytes("VmHWM")
    return {
        "frames_out": num_out,
        "base_MiB": round(base / 2**20),
        "peak_MiB": round(peak / 2**20),
        "under_2GiB": peak < 2 * 2**30,
        "peak_over_clip": round(peak / (12 * prod(clip)), 3),
        "file_MiB": round(plan.state_bytes / 2**20) if plan.keep == "file" else 0,
        "seconds": round(seconds, 1),
        "seconds_per_megapixel": round(seconds / prod(clip) * 1e6, 3),
        "plan": str(plan),
    }


def waves(first: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Frames (1, C, T, H, W) in [-1, 1], from index `first` on, that move along both diagonals."""
    slab = torch.empty(shape)
    for index, frame in enumerate(slab[0].unbind(1), first):
        rows, columns = (torch.sin((torch.arange(n) + index) / 7) / 2 for n in shape[3:])
        torch.add(rows[:, None], columns, out=frame[0])
        frame[1:] = frame[0]
    return slab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--clip", choices=CLIPS, action="append", help="only this one")
    parser.add_argument("--direction", choices=("encode", "decode"), action="append", help="only this one")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    table = []
    for name in args.clip or CLIPS:
        for direction in args.direction or ("encode", "decode"):
            clip = CLIPS[name]
            known = {"clip": name, "size": clip, "clip_MiB": round(12 * prod(clip) / 2**20), "direction": direction}
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                table.append(known | pool.apply(run, (direction, clip, args.memory, args.threads)))
            if not args.json:
                print(*(f"{key} {value}" for key, value in table[-1].items()), sep="  ", flush=True)
    print(json.dumps({"benchmark": "long_and_large", "memory": args.memory, "threads": args.threads, "rows": table}))


if __name__ == "__main__":
    main()
