"""Wan 2.1 decoded on one machine in one run: ours whole and within the memory of tiles, diffusers' plain and tiled.

    python benchmarks/versus_diffusers.py [--base 96] [--size 256] [--tile 128 --stride 96] [--frames 9] [--threads 1]

Same random weights, same latents. Times are processor seconds (medians of ratios over interleaved rounds); memory is
what the pass adds at its peak in a process of its own, and our budget is
what diffusers' tiles added; each error is relative to that library's own whole-clip result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from measure import median_ratio, paired_times, peak_bytes

import vidlatent as vl
from vidlatent.testing import relative_error

OURS = ("ours whole", "ours within tiles' memory")
WAYS = (*OURS, "diffusers plain", "diffusers tiled")


@dataclass(frozen=True)
class Setting:
    """Where the weights are, diffusers' tiles in pixels, and the memory that they took."""

    folder: str
    tile: int
    stride: int
    budget: int | None = None


def decoder(way: str, setting: Setting) -> Callable[[torch.Tensor], torch.Tensor]:
    """The decode function of one way."""
    if way.startswith("ours"):
        ae = vl.load(setting.folder)
        return lambda z: ae.decode(z, memory=None if way == "ours whole" else setting.budget)
    model = AutoencoderKLWan.from_pretrained(setting.folder).eval()
    if way == "diffusers tiled":
        model.enable_tiling(setting.tile, setting.tile, setting.stride, setting.stride)
    return lambda z: model.decode(z, return_dict=False)[0]


def action(way: str, setting: Setting, latents: torch.Tensor) -> Callable[[], torch.Tensor]:
    """One decode, ready to go; plans are remembered, so that they are made before."""
    decode = decoder(way, setting)
    if way == "ours within tiles' memory":
        decode(latents[..., :8, :8])  # what is loaded at first use
    return lambda: decode(latents)


def keep(answers: dict[str, torch.Tensor], way: str, run: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Run and keep the answer, which is compared later."""
    return lambda: answers.update({way: run()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    for name, default in {
        "base": 96,
        "size": 256,
        "tile": 128,
        "stride": 96,
        "frames": 9,
        "threads": 1,
        "rounds": 1,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    grid = (1 + (args.frames - 1) // 4, args.size // 8, args.size // 8)
    latents = torch.randn(1, 16, *grid)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        AutoencoderKLWan(base_dim=args.base).save_pretrained(folder)
        weights = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        setting, answers = Setting(folder, args.tile, args.stride), dict[str, torch.Tensor]()
        memory = {way: peak_bytes(action, way, setting, latents) for way in WAYS if way != OURS[1]}
        setting = replace(setting, budget=memory["diffusers tiled"] + weights)
        memory[OURS[1]] = peak_bytes(action, OURS[1], setting, latents)
        actions = {way: keep(answers, way, action(way, setting, latents)) for way in WAYS}
        times = paired_times(actions, args.rounds, warm_up=args.rounds > 1)
    own = {"ours": answers["ours whole"], "diffusers": answers["diffusers plain"]}
    rows = {
        way: {
            "seconds": round(min(times[way]), 2),
            "peak_MiB": round(memory[way] / 2**20),
            "error_to_own_whole": relative_error(answers[way], own[way.split()[0]]),
            "error_to_diffusers_plain": relative_error(answers[way], own["diffusers"]),
        }
        for way in WAYS
    }
    result = {
        "benchmark": "versus_diffusers",
        **vars(args),
        "weights_MiB": round(weights / 2**20),
        "speedup_over_plain": {way: round(median_ratio(times["diffusers plain"], times[way]), 2) for way in OURS},
        "speedup_over_tiled": {way: round(median_ratio(times["diffusers tiled"], times[way]), 2) for way in OURS},
        "ways": rows,
    }
    if not args.json:
        for way, row in rows.items():
            print(f"{way:16} {row['seconds']:8.2f} s  {row['peak_MiB']:6} MiB  error {row['error_to_own_whole']:.1e}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
