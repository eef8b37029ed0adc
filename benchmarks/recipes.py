"""Every recipe's small form on real clips: what its loss falls to, what it reconstructs, which codes live.

    python benchmarks/recipes.py CLIPS --test CLIPS [--only vqgan,fsq] [--json]
    python benchmarks/recipes.py CLIP --overfit [--only vqgan,fsq] [--json]

Trains with `--smoke`'s settings on one thread. With `--overfit`, the first frames of one clip are all there is to see,
and the longest stage is trained alone, twice as long: what is measured then is their reconstruction by the
model that was written, read again. The last line is one JSON object; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

import vidlatent as vl
from vidlatent.config import read_values
from vidlatent.train import run

RECIPES = Path(__file__).parents[1] / "configs" / "autoencoder"
NOT_RECIPES = ("vidlatent-tiny",)
LONGER = 2


def names() -> list[str]:
    """Recipes that have a small form."""
    return [path.stem for path in sorted(RECIPES.glob("*.yaml")) if path.stem not in NOT_RECIPES]


def learn(name: str, clips: Path, test: Path | None, out: Path) -> dict[str, float]:
    """Train the small form; first and last figures of its first stage, and the last evaluation."""
    overrides = [f"data.folder={clips}", f"out={out}"]
    if test:
        overrides += [f"evaluation.folder={test}", "evaluation.clips=8"]
    metrics = run(RECIPES / f"{name}.yaml", overrides, smoke=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "psnr" in line]
    first_stage = [line["autoencoder/loss"] for line in trained if line["stage"] == trained[0]["stage"]]
    return {
        "loss_first": first_stage[0],
        "loss_last": min(first_stage[-3:]),
        **{f"test_{key}": value for key, value in metrics.items()},
    }


def overfit(name: str, clip: Path, out: Path, *, longer: float = LONGER) -> dict[str, float]:
    """Train the small form's longest stage on the first frames of a clip; how well the written model gives them."""
    values = read_values(RECIPES / f"{name}.yaml", smoke=True)
    stage = max(values["stages"], key=lambda stage: stage["steps"])
    stage["steps"] = round(longer * stage["steps"])
    data = values["data"] | stage.get("data", {})
    size, frames = data["size"], data["frames"]
    with vl.open_video(clip, size=(size, size), chunk_frames=frames) as source:
        video = vl.to_float(next(iter(source)).frames)
    (out / "clip").mkdir(parents=True)
    vl.write_video(out / "clip" / "first.mp4", video, fps=source.spec.fps or 24, crf=1)
    overrides = [f"data.folder={out / 'clip'}", f"out={out}", "data.pool=1", f"stages={json.dumps([stage])}"]
    run(RECIPES / f"{name}.yaml", [*overrides, "data.zoom=[1, 1]"], smoke=True)
    ae = vl.load(out / "model.safetensors")
    with torch.no_grad():
        got = ae.decode(ae.encode(video).mode(), num_frames=frames, size=(size, size))
    return {"steps": stage["steps"], "psnr": float(vl.metrics.psnr(got.clamp(-1, 1), video))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of videos to train on; with --overfit, one video")
    parser.add_argument("--test", type=Path, help="folder of videos to measure on")
    parser.add_argument("--only", help="recipes, separated by commas")
    parser.add_argument("--overfit", action="store_true", help="the first frames of one clip, for longer")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in args.only.split(",") if args.only else names():
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            figures = overfit(name, args.clips, out) if args.overfit else learn(name, args.clips, args.test, out)
        figures["seconds"] = time.process_time() - started
        found[name] = {key: round(value, 4) for key, value in figures.items()}
        if not args.json:
            print(f"{name:18} {found[name]}", flush=True)
    print(json.dumps({"overfit": args.overfit, "recipes": found}))


if __name__ == "__main__":
    main()
