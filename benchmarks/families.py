"""Every family against diffusers: ours whole and in half and a quarter of that memory, theirs plain and tiled.

    python benchmarks/families.py [--family wan-2.1 ...] [--direction decode] [--rounds 1] [--threads 1] [--json]

Narrow models with the same random weights; each pass runs in a process of its own. Times are processor seconds, the
fastest of the rounds, which are interleaved. Memory is resident memory at the peak above what the libraries take:
weights, input, activations and answer. Errors are relative to our whole-clip answer. Theirs is called as its pipelines
call it: CogVideoX and HunyuanVideo take frames in chunks even when it is "plain"; Allegro has tiles only, and
Stable Video Diffusion none. Tiles are scaled down with the clips (`--tile`), which are two tiles wide.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from measure import held_and_peak_bytes

import vidlatent as vl
from vidlatent.autoencoders.diffusers_format import adapter, save_pretrained
from vidlatent.testing import relative_error

SHARES = {"ours, 1/2": 2, "ours, 1/4": 4}
WAYS = ("ours, whole", *SHARES, "diffusers, plain", "diffusers, tiled")
NO_PLAIN, NO_TILES = ("allegro",), ("svd", "cosmos")
_IMAGES = (diffusers.AutoencoderKL, diffusers.AutoencoderDC, diffusers.AutoencoderKLTemporalDecoder)
_FOLDS = {"encoder_widths": (16, 32, 64, 128, 256), "decoder_widths": (32, 64, 128)}


@dataclass(frozen=True)
class Case:
    """A preset, what narrows it, the clip (T, H, W), and tiles in pixels: their size and step."""

    overrides: dict[str, Any]
    clip: tuple[int, int, int]
    tile: tuple[int, int] = (128, 96)


_KL = {"widths": (16, 32, 64, 64), "groups": 8}
_TILE = (96, 64)
CASES = {
    "wan-2.1": Case({"base_dim": 16}, (9, 160, 160), _TILE),
    "cogvideox-2b": Case(_KL, (9, 160, 160), _TILE),
    "hunyuan-video": Case(_KL, (9, 160, 160), _TILE),
    "ltx-video-0.9.5": Case(_FOLDS, (9, 256, 256)),
    "mochi-1": Case({"encoder_widths": (32, 32, 64, 64), "decoder_widths": (32, 32, 64, 64)}, (7, 160, 160), _TILE),
    "allegro": Case(_KL, (12, 160, 160), _TILE),
    "sd": Case(_KL, (4, 160, 160), _TILE),
    "svd": Case({"widths": (32, 32, 64, 64)}, (4, 160, 160), _TILE),
    "wan-2.2": Case({"base_dim": 16, "decoder_base_dim": 24}, (5, 320, 320), (192, 128)),
    "dc-ae-f32c32-sana": Case(
        {"encoder_widths": (16, 32, 64, 64, 128, 128), "decoder_widths": (16, 32, 64, 64, 128, 128)}, (4, 256, 256)
    ),
    "cosmos-1.0": Case({"encoder_widths": (16, 32, 64, 64), "decoder_widths": (32, 64, 64, 64)}, (9, 160, 160)),
    "hunyuan-video-1.5": Case({"widths": (16, 32, 64, 128, 128)}, (5, 224, 224)),
}


def action(name: str, way: str, direction: str, folder: str, budget: int | None, rounds: int) -> Callable[[], None]:
    """Passes, ready to go; the last answer and the fewest processor seconds are left in `folder`."""
    x = torch.load(Path(folder, "input.pt"))
    run = (ours if way.startswith("ours") else theirs)(name, way, direction, folder, budget, x)

    def measured() -> None:
        seconds = []
        for _ in range(rounds):
            started = time.process_time()
            answer = run()
            seconds.append(time.process_time() - started)
        Path(folder, "seconds").write_text(str(min(seconds)))
        torch.save(answer.contiguous(), Path(folder, "answer.pt"))

    return measured


def ours(_: str, __: str, direction: str, folder: str, budget: int | None, x: torch.Tensor) -> Callable[[], Any]:
    ae = vl.load(Path(folder, "model"))
    if budget is not None:
        ae.plan(tuple(x.shape), budget, direction)  # plans are remembered: planning is not timed
    if direction == "encode":
        return lambda: ae.encode(x, memory=budget).mean
    return lambda: ae.decode(x, memory=budget)


def theirs(name: str, way: str, direction: str, folder: str, _: int | None, x: torch.Tensor) -> Callable[[], Any]:
    kind = getattr(diffusers, adapter(vl.autoencoders.catalog.CATALOG[name].family).class_name)
    model = kind.from_pretrained(Path(folder, "model"), local_files_only=True).eval()
    if way.endswith("tiled"):
        tile(model, *CASES[name].tile)
    told: dict[str, Any] = {"temb": torch.full((1,), 0.05)} if model.config.get("timestep_conditioning") else {}
    if isinstance(model, diffusers.AutoencoderKLTemporalDecoder):
        told["num_frames"] = x.shape[2]
    images = isinstance(model, _IMAGES)
    x = x[0].transpose(0, 1).contiguous() if images else x

    def run() -> torch.Tensor:
        if direction == "decode":
            out = model.decode(x, **told).sample
        else:
            encoded = model.encode(x)
            out = encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mean
        return out.transpose(0, 1)[None] if images else out

    return run


def tile(model: Any, size: int, step: int) -> None:
    """Have theirs tile, by whichever knobs it has."""
    model.enable_tiling()
    stride = getattr(model, "spatial_compression_ratio", None) or 2 ** (len(model.config.block_out_channels) - 1)
    if hasattr(model, "kernel"):
        model.kernel, model.stride = (12, size, size), (8, step, step)
    for names, value in (
        (("tile_sample_min_size", "tile_sample_min_height", "tile_sample_min_width"), size),
        (("tile_latent_min_size", "tile_latent_min_height", "tile_latent_min_width"), size // stride),
        (("tile_sample_stride_height", "tile_sample_stride_width"), step),
        (("tile_overlap_factor", "tile_overlap_factor_height", "tile_overlap_factor_width"), (size - step) / size),
    ):
        for name in names:
            if hasattr(model, name):
                setattr(model, name, value)


def prepare(name: str, direction: str, folder: str) -> None:
    """Weights, which both load, and the input."""
    ae, (frames, height, width) = vl.build(name, **CASES[name].overrides), CASES[name].clip
    save_pretrained(ae, Path(folder, "model"))
    spec = ae.latent_spec
    shape = (1, 3, frames, height, width)
    if direction == "decode":
        shape = (1, spec.channels, spec.num_latent_frames(frames), *spec.latent_size(height, width))
    generator = torch.Generator().manual_seed(0)
    torch.save(torch.randn(shape, generator=generator).clamp(-1, 1), Path(folder, "input.pt"))


def measure(name: str, direction: str, rounds: int) -> dict[str, Any]:
    """Seconds, peak and error of every way."""
    rows: dict[str, Any] = {}
    want = None
    with tempfile.TemporaryDirectory() as folder:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(prepare, (name, direction, folder))
        for way in WAYS:
            if (name in NO_PLAIN and way.endswith("plain")) or (name in NO_TILES and way.endswith("tiled")):
                continue
            budget = rows["ours, whole"]["peak"] // SHARES[way] if way in SHARES else None
            try:
                peak = held_and_peak_bytes(action, name, way, direction, folder, budget, rounds, start="fork")
            except vl.BudgetTooSmall as error:
                rows[way] = {"too_small": str(error), "smallest_MiB": error.smallest_bytes >> 20}
                continue
            answer = torch.load(Path(folder, "answer.pt"))
            want = answer if want is None else want
            rows[way] = {
                "seconds": round(float(Path(folder, "seconds").read_text()), 2),
                "peak": peak,
                "peak_MiB": peak >> 20,
                "error": relative_error(answer.clamp(-1, 1) if direction == "decode" else answer, want),
            }
    return rows


def ratios(rows: dict[str, Any]) -> dict[str, Any]:
    """How many times faster than theirs each of ours is."""
    timed = {way: row["seconds"] for way, row in rows.items() if "seconds" in row}
    return {
        f"speedup_over_{other.split()[1]}": {
            way: round(timed[other] / seconds, 2) for way, seconds in timed.items() if way.startswith("ours")
        }
        for other in ("diffusers, plain", "diffusers, tiled")
        if other in timed
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--family", choices=CASES, action="append", help="only this one")
    parser.add_argument("--direction", choices=("encode", "decode"), default="decode")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = {}
    for name in args.family or CASES:
        rows = measure(name, args.direction, args.rounds)
        table[name] = {"clip": CASES[name].clip, **ratios(rows), "ways": rows}
        if not args.json:
            for way, row in rows.items():
                print(
                    f"{name:18} {way:18}",
                    *(f"{key} {value}" for key, value in row.items() if key != "peak"),
                    flush=True,
                )
    print(
        json.dumps({"benchmark": "families", "direction": args.direction, "threads": args.threads, "families": table})
    )


if __name__ == "__main__":
    main()
