"""How long it takes to plan: the first time for a clip, and the same again.

    python benchmarks/planning.py [--model wan-2.1 ...] [--clip 121 1080 1920] [--direction decode] [--json]

For each model of published width: the budget of the whole clip, the smallest there is, which takes the whole search,
and one half way between. Nothing is computed, only counted: sizes matter, weights do not. Seconds are of the
processor: planning is one thread that never waits, and the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

import vidlatent as vl
from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.base import Direction
from vidlatent.streaming import Plan

MODELS = (
    *("vidlatent-tiny", "wan-2.1", "wan-2.2", "ltx-2", "ltx-2.5"),
    *("mochi-1", "hunyuan-video", "cogvideox-2b", "svd", "allegro"),
)


def seconds(model: str, memory: int, clip: tuple[int, int, int], direction: Direction) -> list[float]:
    """Of planning for a model that has planned nothing yet, and of the same once more."""
    ae, taken = vl.build(model), []
    for _ in range(2):
        started = time.process_time()
        plan(ae, memory, clip, direction)
        taken.append(round(time.process_time() - started, 2))
    return taken


def plan(ae: Autoencoder, memory: int, clip: tuple[int, int, int], direction: Direction) -> Plan:
    """As `vl.plan` does."""
    frames, height, width = clip
    return vl.plan(ae, frames=frames, height=height, width=width, memory=memory, direction=direction)


def measured(model: str, clip: tuple[int, int, int], direction: Direction) -> dict[str, Any]:
    """Budgets of one model, and seconds."""
    ae = vl.build(model)
    whole = plan(ae, 1 << 50, clip, direction).peak_bytes
    try:
        least = plan(ae, 1, clip, direction).peak_bytes
    except vl.BudgetTooSmall as error:
        least = error.smallest_bytes
    budgets = {"whole": whole, "half way": (whole + least) // 2, "least": least}
    found: dict[str, Any] = {}
    for name, budget in budgets.items():
        first, again = seconds(model, budget, clip, direction)
        found[name] = {"gib": round(budget / 2**30, 1), "seconds": first, "again": again}
        found[name]["plan"] = str(plan(ae, budget, clip, direction))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--clip", nargs=3, type=int, default=(121, 1080, 1920))
    parser.add_argument("--direction", choices=("encode", "decode"), default="decode")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = {}
    for model in arguments.model:
        record[model] = measured(model, tuple(arguments.clip), arguments.direction)
        if not arguments.json:
            print(model, record[model], flush=True)
    print(json.dumps({"clip": arguments.clip, "direction": arguments.direction, "models": record}))


if __name__ == "__main__":
    main()
