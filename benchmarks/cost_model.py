"""Fit what a plan costs beside the arithmetic: seconds per operator call, per byte written, per byte put in a file.

    python benchmarks/cost_model.py [--threads 1] [--rounds 3] [--json]

Swept plans of several models, from coarse to fine, each with the room that a budget of its own predicted peak gives it
and in a process of its own, as a budget sets the allocator. Their processor seconds are fitted, by non-negative least
squares, to what the planner counts for them and a constant for each model and direction, which is the arithmetic. The
constants of `vidlatent/streaming/cost.py` come from here.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from measure import in_process, paired_times_apart
from scipy.optimize import nnls

import vidlatent as vl
from vidlatent.streaming import H, Plan, Sweepable, T, run
from vidlatent.streaming.cost import CPU
from vidlatent.streaming.meter import to_meta, weight_bytes
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.search import Search
from vidlatent.streaming.tally import Needs

CASES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "vidlatent-tiny": ({}, (17, 384, 384)),
    "wan-2.1": ({"base_dim": 16}, (13, 256, 256)),
    "hunyuan-video": ({"widths": (16, 32, 64, 64), "groups": 8}, (9, 256, 256)),
}
COUNTS = ("calls", "made_bytes", "moved_bytes")


@dataclass(frozen=True)
class Case:
    """A model and a direction."""

    name: str
    direction: str

    def plans(self) -> Iterator[Plan]:
        """Plans of every kind, from coarse to fine."""
        t, h = (4, 8) if self.direction == "encode" else (1, 1)
        yield from (Plan((T,), chunk=n * t) for n in (1, 2))
        yield from (Plan((H,), strip=n * h) for n in (4, 8, 16))
        yield from (Plan(axes, chunk=t, strip=n * h) for axes in ((T, H), (H, T)) for n in (4, 8))
        yield from (Plan((T, H), chunk=t, strip=n * h, keep="file") for n in (4, 16))
        yield Plan((T,), chunk=t, keep="file")

    def ready(self) -> tuple[Sweepable, torch.Tensor]:
        """The module, and what it is given."""
        overrides, (t, h, w) = CASES[self.name]
        ae = vl.build(self.name, **overrides)
        spec = ae.latent_spec
        grid = (spec.num_latent_frames(t), *spec.latent_size(h, w))
        draw = torch.Generator().manual_seed(0)
        if self.direction == "encode":
            return ae.encoder, ae.prepare(torch.randn(1, 3, t, h, w, generator=draw))
        return ae.decoder, ae.prepare(torch.randn(1, spec.channels, *grid, generator=draw))

    def needs(self) -> list[tuple[Plan, Needs]]:
        """Its plans as for a budget that is just enough, and what is counted for them."""
        module, x = self.ready()
        with torch.no_grad():
            answer = run(module, x).nbytes
        predictor, found = Predictor(to_meta(module), tuple(x.shape), x.dtype), []
        for plan in self.plans():
            search = Search(predictor, 1 << 50, CPU, weight_bytes(module), x.nbytes, answer, streaming=False)
            priced = search.priced(plan)
            search.budget = priced.peak_bytes
            found.append((search.priced(plan), predictor.needs(plan)))
        return found


def loaded(case: Case, plan: Plan) -> Callable[[], torch.Tensor]:
    """One pass, ready to go."""
    module, x = case.ready()
    return lambda: run(module, x, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    counts, seconds, of_case, plans = [], [], [], []
    cases = [Case(name, direction) for name in CASES for direction in ("encode", "decode")]
    for index, case in enumerate(cases):
        known = in_process(case.needs)
        times = paired_times_apart({str(plan): (loaded, (case, plan)) for plan, _ in known}, args.rounds)
        seconds += [statistics.median(taken) for taken in times.values()]
        counts += [[getattr(needs, count) for count in COUNTS] for _, needs in known]
        of_case += [index] * len(known)
        plans += [plan for plan, _ in known]
    arithmetic = np.eye(len(cases))[of_case]
    scale = np.abs(counts).max(0)
    columns, wanted = np.hstack([np.array(counts) / scale, arithmetic]), np.array(seconds)
    fitted, residual = nnls(columns, wanted)
    constants = dict(zip(("per_call", "per_made_byte", "per_moved_byte"), fitted[:3] / scale, strict=True))
    spread = wanted - arithmetic @ (arithmetic.T @ wanted / arithmetic.sum(0))
    explained = 1 - residual**2 / float((spread**2).sum())
    if not args.json:
        for index, plan, took, guess in zip(of_case, plans, seconds, columns @ fitted, strict=True):
            print(f"{cases[index].name} {cases[index].direction}: measured {took:6.2f} s, fitted {guess:6.2f}, {plan}")
    print(
        json.dumps({"benchmark": "cost_model", "threads": args.threads, **constants, "explained": round(explained, 3)})
    )


if __name__ == "__main__":
    main()
