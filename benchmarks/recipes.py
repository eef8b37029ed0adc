"""Every recipe's small form on real clips: what its loss falls to, what it reconstructs, which codes live.

    python benchmarks/recipes.py CLIPS --test CLIPS [--only vqgan,fsq] [--overfit] [--json]

Trains with `--smoke`'s settings on one thread; with `--overfit` on one window of one clip, four times as long.
The last line is one JSON object; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import torch

from vidlatent.config import read_values
from vidlatent.train import run

RECIPES = Path(__file__).parents[1] / "configs" / "autoencoder"
NOT_RECIPES = ("vidlatent-tiny",)
OVERFIT_FACTOR = 4


def names() -> list[str]:
    """Recipes that have a small form."""
    return [path.stem for path in sorted(RECIPES.glob("*.yaml")) if path.stem not in NOT_RECIPES]


def measure(name: str, clips: Path, test: Path | None, out: Path, *, overfit: bool) -> dict[str, float]:
    """Train one recipe; returns first and last figures of its first stage, and the last evaluation."""
    path = RECIPES / f"{name}.yaml"
    overrides = [f"data.folder={clips}", f"out={out}", "log_every=10"]
    if overfit:
        steps = read_values(path, smoke=True)["stages"][0]["steps"] * OVERFIT_FACTOR
        overrides += ["data.pool=1", "data.zoom=[1, 1]", f"stages.0.steps={steps}"]
    elif test:
        overrides += [f"evaluation.folder={test}", "evaluation.clips=8"]
    started = time.process_time()
    metrics = run(path, overrides, smoke=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "psnr" in line]
    first_stage = [line for line in trained if line["stage"] == trained[0]["stage"]]
    loss = [line["autoencoder/loss"] for line in first_stage]
    return {
        "loss_first": loss[0],
        "loss_last": min(loss[-3:]),
        "psnr_first": trained[0]["psnr"],
        "psnr_last": max(line["psnr"] for line in trained[-4:]),
        **{f"test_{key}": value for key, value in metrics.items()},
        "seconds": time.process_time() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of videos to train on; with --overfit, one video's")
    parser.add_argument("--test", type=Path, help="folder of videos to measure on")
    parser.add_argument("--only", help="recipes, separated by commas")
    parser.add_argument("--overfit", action="store_true", help="one window of one clip, for longer")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in args.only.split(",") if args.only else names():
        folder = Path(tempfile.mkdtemp())
        try:
            found[name] = {
                k: round(v, 4) for k, v in measure(name, args.clips, args.test, folder, overfit=args.overfit).items()
            }
        finally:
            shutil.rmtree(folder)
        if not args.json:
            print(f"{name:18} {found[name]}", flush=True)
    print(json.dumps({"overfit": args.overfit, "recipes": found}))


if __name__ == "__main__":
    main()
