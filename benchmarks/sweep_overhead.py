"""What exact sweeping costs: processor time of a swept pass over that of the whole-clip pass, same model, same clip.

    python benchmarks/sweep_overhead.py [--json] [--threads 1] [--rounds 5]

Ratios are medians over interleaved rounds; "error" is the largest relative difference to the whole-clip pass.
"""

from __future__ import annotations

import argparse
import json

import torch
from measure import median_ratio, paired_times

import vidlatent as vl
from vidlatent.streaming import H, Plan, T
from vidlatent.testing import relative_error

FRAMES = 13
CASES = {  # name: (model, overrides, pixels a side)
    "vidlatent-tiny": ("vidlatent-tiny", {}, 448),
    "wan-2.1 base 32": ("wan-2.1", {"base_dim": 32}, 192),
}


def plans(direction: str) -> dict[str, Plan]:
    """Sensible slabs: a latent frame or two at a time, whole rows or strips of 16 latent rows."""
    frames, rows = (4, 8) if direction == "encode" else (1, 1)
    return {
        "T": Plan((T,), chunk=frames),
        "T in pairs": Plan((T,), chunk=2 * frames),
        "T, H": Plan((T, H), chunk=2 * frames, strip=16 * rows),
        "H, T": Plan((H, T), chunk=2 * frames, strip=16 * rows),
    }


@torch.no_grad()
def measure(name: str, direction: str, rounds: int) -> list[dict[str, object]]:
    """One row a plan."""
    model, overrides, size = CASES[name]
    ae = vl.build(model, **overrides)
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 3, FRAMES, size, size, generator=generator) * 2 - 1
    if direction == "encode":
        module, x = ae.encoder, ae.prepare(video)
    else:
        module, x = (
            ae.decoder,
            ae.prepare(torch.randn(1, 16, 1 + FRAMES // 4, size // 8, size // 8, generator=generator)),
        )
    whole = vl.streaming.run(module, x)
    variants = {"whole": Plan()} | plans(direction)
    times = paired_times({k: lambda p=p: vl.streaming.run(module, x, p) for k, p in variants.items()}, rounds)
    return [
        {
            "model": name,
            "direction": direction,
            "plan": plan,
            "ratio": round(median_ratio(times[plan], times["whole"]), 3),
            "whole_seconds": round(min(times["whole"]), 3),
            "error": relative_error(vl.streaming.run(module, x, variants[plan]), whole),
        }
        for plan in plans(direction)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--model", choices=CASES, action="append", help="only this one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name in args.model or CASES:
        for direction in ("encode", "decode"):
            for row in measure(name, direction, args.rounds):
                rows.append(row)
                if not args.json:
                    print("{model:16} {direction:7} {plan:11} {ratio:6.3f}x whole, error {error:.1e}".format(**row))
    worst = max(row["ratio"] for row in rows if row["plan"] in ("T", "T in pairs"))
    print(json.dumps({"benchmark": "sweep_overhead", "threads": args.threads, "worst_T": worst, "rows": rows}))


if __name__ == "__main__":
    main()
