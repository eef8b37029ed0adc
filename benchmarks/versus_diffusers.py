"""Wan 2.1 decoded five ways on one machine in one run: ours whole and swept, diffusers' plain and tiled.

    python benchmarks/versus_diffusers.py [--base 96] [--size 256] [--frames 9] [--threads 1] [--rounds 1] [--json]

Same random weights, same latents. Times are processor seconds (medians of ratios over interleaved rounds); memory is
what the pass adds at its peak in a process of its own; each error is relative to that library's own whole-clip result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from measure import median_ratio, paired_times, peak_bytes

import vidlatent as vl
from vidlatent.streaming import H, T
from vidlatent.testing import relative_error

PLANS = {"ours whole": None, "ours in frames": vl.Plan((T,), chunk=1), "ours in strips": vl.Plan((H,), strip=8)}
WAYS = (*PLANS, "diffusers plain", "diffusers tiled")


def decoder(way: str, folder: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The decode function of one way, with the weights in `folder`."""
    if way.startswith("ours"):
        ae = vl.load(folder)
        return lambda z: ae.decode(z, plan=PLANS[way])
    model = AutoencoderKLWan.from_pretrained(folder).eval()
    if way == "diffusers tiled":
        model.enable_tiling(128, 128, 96, 96)
    return lambda z: model.decode(z, return_dict=False)[0]


def action(way: str, folder: str, latents: torch.Tensor) -> Callable[[], torch.Tensor]:
    """One decode, ready to go."""
    decode = decoder(way, folder)
    return lambda: decode(latents)


def keep(answers: dict[str, torch.Tensor], way: str, run: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Run and keep the answer, which is compared later."""
    return lambda: answers.update({way: run()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    for name, default in {"base": 96, "size": 256, "frames": 9, "threads": 1, "rounds": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    grid = (1 + (args.frames - 1) // 4, args.size // 8, args.size // 8)
    latents = torch.randn(1, 16, *grid)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        AutoencoderKLWan(base_dim=args.base).save_pretrained(folder)
        answers: dict[str, torch.Tensor] = {}
        actions = {way: keep(answers, way, action(way, folder, latents)) for way in WAYS}
        times = paired_times(actions, args.rounds, warm_up=args.rounds > 1)
        memory = {way: peak_bytes(action, way, folder, latents) for way in WAYS}
        weights = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
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
        "speedup_over_plain": {way: round(median_ratio(times["diffusers plain"], times[way]), 2) for way in PLANS},
        "speedup_over_tiled": {way: round(median_ratio(times["diffusers tiled"], times[way]), 2) for way in PLANS},
        "ways": rows,
    }
    if not args.json:
        for way, row in rows.items():
            print(f"{way:16} {row['seconds']:8.2f} s  {row['peak_MiB']:6} MiB  error {row['error_to_own_whole']:.1e}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
