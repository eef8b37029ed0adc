"""Fit what a plan costs beside the arithmetic: seconds per operator call, per byte written, per byte put in a file.

    python benchmarks/cost_model.py [--threads 1] [--rounds 3] [--json]

Each plan's processor seconds above those of the whole-clip pass are fitted, by non-negative least squares, to what the
planner counts for it above the whole-clip pass. The constants of `vidlatent/streaming/cost.py` come from here.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass

import numpy as np
import torch
from measure import paired_times
from scipy.optimize import nnls

import vidlatent as vl
from vidlatent.streaming import H, Plan, Sweepable, T, run
from vidlatent.streaming.meter import to_meta
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.tally import Needs

CASES = {"vidlatent-tiny": ({}, (13, 256, 256)), "wan-2.1": ({"base_dim": 16}, (9, 160, 160))}


def plans(direction: str) -> list[Plan]:
    """Plans of every kind, from coarse to fine."""
    t, h = (4, 8) if direction == "encode" else (1, 1)
    return [
        *(Plan((T,), chunk=n * t) for n in (1, 2)),
        *(Plan((H,), strip=n * h) for n in (4, 8, 16)),
        *(Plan(axes, chunk=t, strip=n * h) for axes in ((T, H), (H, T)) for n in (4, 8)),
        *(Plan((T, H), chunk=t, strip=8 * h, keep="file"), Plan((T,), chunk=t, keep="file")),
    ]


@dataclass
class Sample:
    """One plan above the whole clip."""

    seconds: float
    needs: Needs
    whole: Needs

    def counts(self) -> list[float]:
        names = ("calls", "made_bytes", "moved_bytes")
        return [getattr(self.needs, name) - getattr(self.whole, name) for name in names]


@torch.no_grad()
def samples(name: str, direction: str, rounds: int) -> list[Sample]:
    """Every plan of one model and direction, measured side by side."""
    overrides, (t, h, w) = CASES[name]
    ae = vl.build(name, **overrides)
    spec = ae.latent_spec
    grid = (spec.num_latent_frames(t), *spec.latent_size(h, w))
    module: Sweepable = ae.encoder if direction == "encode" else ae.decoder
    x = ae.prepare(torch.randn(1, 3, t, h, w) if direction == "encode" else torch.randn(1, spec.channels, *grid))
    variants = [Plan(), *plans(direction)]
    times = paired_times({str(p): lambda p=p: run(module, x, p) for p in variants}, rounds)
    predictor = Predictor(to_meta(module), tuple(x.shape), x.dtype)
    whole, base = predictor.needs(Plan()), times[str(Plan())]
    return [
        Sample(statistics.median(a - b for a, b in zip(times[str(p)], base, strict=True)), predictor.needs(p), whole)
        for p in variants[1:]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = [s for name in CASES for direction in ("encode", "decode") for s in samples(name, direction, args.rounds)]
    counts, seconds = np.array([s.counts() for s in found]), np.array([s.seconds for s in found])
    scale = np.abs(counts).max(0)
    fitted, residual = nnls(counts / scale, seconds)
    constants = dict(zip(("per_call", "per_made_byte", "per_moved_byte"), (fitted / scale).tolist(), strict=True))
    explained = 1 - residual**2 / float(((seconds - seconds.mean()) ** 2).sum())
    if not args.json:
        for sample, guess in zip(found, counts @ (fitted / scale), strict=True):
            print(f"measured {sample.seconds:7.3f} s above the whole clip, fitted {guess:7.3f}")
    print(
        json.dumps({"benchmark": "cost_model", "threads": args.threads, **constants, "explained": round(explained, 3)})
    )


if __name__ == "__main__":
    main()
