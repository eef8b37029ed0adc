"""What each stored type of latents costs: PSNR of real clips decoded from float32, bfloat16, float16 and int8 latents.

    python benchmarks/latent_types.py CLIP... [--json] [--model vidlatent-tiny] [--frames 33]

For each clip its first frames are encoded once and decoded from what a reader of each type would get. "psnr" is against
the clip, "lost" what it is below float32's, "apart" the PSNR between the two decoded clips.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from torch import Tensor

import vidlatent as vl
from vidlatent.latents import as_read
from vidlatent.metrics import psnr

TYPES = ("float32", "bfloat16", "float16", "int8")


@torch.no_grad()
def of_clip(path: Path, ae: vl.Autoencoder, frames: int) -> dict[str, dict[str, float]]:
    with vl.open_video(path, chunk_frames=frames, size=256) as source:
        video = vl.to_float(next(iter(source)).frames)
    posterior = ae.encode(video)
    latents = posterior.mode()

    def decoded(dtype: str) -> Tensor:
        stored = as_read(latents[0].transpose(0, 1), dtype).float().transpose(0, 1)[None]
        return ae.decode(stored, num_frames=posterior.num_frames, size=posterior.size).clamp(-1, 1)

    exact = decoded("float32")
    best = float(psnr(exact, video))
    found = {}
    for dtype in TYPES:
        clip = decoded(dtype)
        mine = float(psnr(clip, video))
        found[dtype] = {"psnr": mine, "lost": best - mine, "apart": float(psnr(clip, exact))}
    return found


def rounded(decibels: float) -> float:
    """To four places, of which none is a negative zero."""
    return round(decibels, 4) + 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="vidlatent-tiny")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ae = vl.load(options.model)
    found = {}
    for path in options.clips:
        found[path.name] = of_clip(path, ae, options.frames)
        if not options.json:
            line = "  ".join(
                f"{dtype} {of['psnr']:.3f} ({rounded(-of['lost']):+.4f})" for dtype, of in found[path.name].items()
            )
            print(f"{path.name:40s} {line}")
    means = {
        dtype: {name: rounded(statistics.mean(of[dtype][name] for of in found.values())) for name in ("psnr", "lost")}
        | {"most_lost": rounded(max(of[dtype]["lost"] for of in found.values()))}
        | ({"least_apart": round(min(of[dtype]["apart"] for of in found.values()), 2)} if dtype != "float32" else {})
        for dtype in TYPES
    }
    print(json.dumps({"benchmark": "latent_types", "model": options.model, "clips": len(found), "types": means}))


if __name__ == "__main__":
    main()
