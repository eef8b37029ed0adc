"""Every family of diffusers: ours whole and in shares of that memory, theirs plain and tiled.

    python benchmarks/families.py [--family wan-2.1 ...] [--direction decode] [--rounds 3] [--threads 1] [--json]
                                  [--without "ours, 1/4" ...] [--scale 2]

Narrow models with the same random weights. Memory is resident memory at the peak of a pass in a process of its own,
above what the libraries take: weights, input, activations and answer; `ours, 1/2` may hold half of the activations of
`ours, whole` beside weights, input and answer. Where that is less than any plan needs, it has the smallest budget that
does, and the row says so. Times are processor seconds, medians of interleaved rounds, each way in a process of its own;
errors are relative to our whole-clip answer. Theirs is called as its pipelines call it: CogVideoX, HunyuanVideo, KVAE
and EasyAnimate take frames in chunks even when they are "plain"; Allegro has tiles only; Stable Video Diffusion,
Cosmos and KVAE have none that work. Tiles are scaled down with the clips (`CASES`), which are two tiles wide.

These clips are small, so that plain passes are quick: a quarter of their memory is 30 to 80 MiB, of which code that is
compiled and gaps of the heap take a good part. `--scale 2` makes clips and tiles twice as high and wide.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from measure import held_and_peak_bytes, in_process, median_ratio, paired_times_apart

import vidlatent as vl
from vidlatent.autoencoders.diffusers_format import adapter, save_pretrained
from vidlatent.testing import relative_error

WHOLE, PLAIN, TILED = "ours, whole", "diffusers, plain", "diffusers, tiled"
SHARES = {"ours, 1/2": 2, "ours, 1/4": 4}
OURS, THEIRS = (WHOLE, *SHARES), (PLAIN, TILED)
NO_PLAIN, NO_TILES = ("allegro",), ("svd", "cosmos-1.0", "kvae-1")
_IMAGES = (diffusers.AutoencoderKL, diffusers.AutoencoderDC, diffusers.AutoencoderKLTemporalDecoder)
Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A preset, what narrows it, the clip (T, H, W), and tiles in pixels: their size and step."""

    overrides: dict[str, Any]
    clip: tuple[int, int, int]
    tile: tuple[int, int] = (128, 96)

    def larger(self, times: int) -> Case:
        """The same with the clip and its tiles so many times as high and wide."""
        (frames, height, width), (size, step) = self.clip, self.tile
        return Case(self.overrides, (frames, times * height, times * width), (times * size, times * step))


_KL = {"widths": (16, 32, 64, 64), "groups": 8}
_WIDTHS = {"encoder_widths": (32, 32, 64, 64), "decoder_widths": (32, 32, 64, 64)}
_FOLDS = {"encoder_widths": (16, 32, 64, 128, 256), "decoder_widths": (32, 64, 128)}
_IMAGE_WIDTHS = (16, 32, 64, 64, 128, 128)
_SMALL = (96, 64)
CASES = {
    "wan-2.1": Case({"base_dim": 16}, (9, 160, 160), _SMALL),
    "wan-2.2": Case({"base_dim": 16, "decoder_base_dim": 24}, (5, 320, 320), (192, 128)),
    "qwen-image": Case({"base_dim": 16}, (9, 160, 160), _SMALL),
    "ltx-video-0.9.5": Case(_FOLDS, (9, 256, 256)),
    "ltx-2": Case({**_FOLDS, "encoder_widths": (16, 32, 64, 128)}, (9, 256, 256)),
    # no ltx-2.5: on a CPU diffusers' decoder attends through matrices of all pairs, which says nothing of its kernels
    "mochi-1": Case(_WIDTHS, (7, 160, 160), _SMALL),
    "allegro": Case(_KL, (12, 160, 160), _SMALL),
    "cogvideox-2b": Case(_KL, (9, 160, 160), _SMALL),
    "hunyuan-video": Case(_KL, (9, 160, 160), _SMALL),
    "hunyuan-video-1.5": Case({"widths": (16, 32, 64, 128, 128)}, (5, 256, 256)),
    "easyanimate-5": Case(_KL, (9, 160, 160), _SMALL),
    "vidtok-kl-488-4": Case({"base": 16}, (9, 160, 160), (80, 80)),
    "kvae-1": Case({"base": 32, "multipliers": (1, 1, 2, 2)}, (9, 128, 128)),
    "cosmos-1.0": Case({"encoder_widths": (16, 32, 64, 64), "decoder_widths": (32, 64, 64, 64)}, (17, 320, 320)),
    "svd": Case({"widths": (32, 32, 64, 64)}, (4, 160, 160)),
    "sd": Case(_KL, (16, 192, 192)),
    "dc-ae-f32c32-sana": Case({"encoder_widths": _IMAGE_WIDTHS, "decoder_widths": _IMAGE_WIDTHS}, (8, 256, 256)),
}


def loaded(name: str, way: str, direction: str, folder: str, budget: int | None) -> Run:
    """One pass of `way`, ready to go."""
    x = torch.load(Path(folder, "input.pt"))
    return _ours(direction, folder, budget, x) if way in OURS else theirs(name, way, direction, folder, x)


def _ours(direction: str, folder: str, budget: int | None, x: torch.Tensor) -> Run:
    ae, plan = vl.load(Path(folder, "model")), vl.Plan()
    if budget is not None:  # planned once: planning is not timed
        known = Path(folder, f"{budget}.plan")
        if not known.exists():
            known.write_bytes(pickle.dumps(ae.plan(tuple(x.shape), budget, direction)))
        plan = pickle.loads(known.read_bytes())
    if direction == "encode":
        return lambda: ae.encode(x, plan=plan).mean
    return lambda: ae.decode(x, plan=plan)


def theirs(name: str, way: str, direction: str, folder: str, x: torch.Tensor) -> Run:
    """Theirs, of the type of `x`, ready to go."""
    kind = getattr(diffusers, adapter(vl.autoencoders.catalog.CATALOG[name].family).class_name)
    model = kind.from_pretrained(Path(folder, "model"), local_files_only=True).eval().to(x.dtype)
    if way == TILED:
        tile(model, *CASES[name].tile)
    told: dict[str, Any] = (
        {"temb": torch.full((1,), 0.05, dtype=x.dtype)} if model.config.get("timestep_conditioning") else {}
    )
    if isinstance(model, diffusers.AutoencoderKLTemporalDecoder):
        told["num_frames"] = x.shape[2]
    images = isinstance(model, _IMAGES)
    if name.startswith("vidtok") and direction == "encode":  # which its `forward` does
        x = torch.cat([x[:, :, :1].expand(-1, -1, model.temporal_compression_ratio - 1, -1, -1), x], 2)
    x = x[0].transpose(0, 1).contiguous() if images else x

    def run() -> torch.Tensor:
        answer = model.decode(x, **told) if direction == "decode" else model.encode(x)
        if hasattr(answer, "latent_dist"):
            answer = answer.latent_dist.mode()  # which Cosmos has too
        elif not isinstance(answer, torch.Tensor):
            answer = answer.latent if hasattr(answer, "latent") else answer.sample
        answer = answer.transpose(1, 2) if name == "allegro" and direction == "decode" else answer
        return answer.transpose(0, 1)[None] if images else answer

    return run


def tile(model: Any, size: int, step: int) -> None:
    """Have theirs tile, by whichever knobs it has."""
    model.enable_tiling()
    if isinstance(model, diffusers.AutoencoderVidTok):
        model.enable_tiling(size, size)
        return
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


def prepare(
    name: str, case: Case, direction: str, folder: str, draw: Callable[[vl.Autoencoder], None] | None = None
) -> int:
    """Weights, which both load, and the input; returns bytes of weights, input and answer."""
    ae, (frames, height, width) = vl.build(name, **case.overrides), case.clip
    if draw is not None:
        draw(ae)
    save_pretrained(ae, Path(folder, "model"))
    shape = (1, 3, frames, height, width)
    if direction == "decode":
        shape = (1, ae.latent_spec.channels, *ae.latent_grid(shape[2:]))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    torch.save(x, Path(folder, "input.pt"))
    return sum(p.nbytes for p in ae.parameters()) + x.nbytes + ae.room_for(direction, x).nbytes


def one_pass(name: str, way: str, direction: str, folder: str, budget: int | None) -> Callable[[], None]:
    """A pass whose answer is left in `folder`."""
    run = loaded(name, way, direction, folder, budget)
    return lambda: torch.save(run(), Path(folder, "answer.pt"))  # as it lies: a copy would count


def measure(name: str, direction: str, rounds: int, ways: Sequence[str]) -> dict[str, Any]:
    """Seconds, peak and error of every way, and the ratios of their times."""
    rows: dict[str, Any] = {}
    budgets: dict[str, int | None] = {}
    want = None
    with tempfile.TemporaryDirectory() as folder:
        held = in_process(prepare, name, CASES[name], direction, folder)
        for way in ways:
            if (name in NO_PLAIN and way == PLAIN) or (name in NO_TILES and way == TILED):
                continue
            budget, too_small = None, {}
            if way in SHARES:
                budget = held + (rows[WHOLE]["peak"] - held) // SHARES[way]
            try:
                peak = held_and_peak_bytes(one_pass, name, way, direction, folder, budget, start="fork")
            except vl.BudgetTooSmall as error:
                too_small = {"asked_MiB": budget >> 20}
                budget = error.smallest_bytes
                peak = held_and_peak_bytes(one_pass, name, way, direction, folder, budget, start="fork")
            budgets[way] = budget
            answer = torch.load(Path(folder, "answer.pt"))
            want = answer if want is None else want
            error = relative_error(answer.clamp(-1, 1) if direction == "decode" else answer, want)
            told = {} if budget is None else {"budget_MiB": budget >> 20, **too_small}
            rows[way] = {"peak": peak, "peak_MiB": peak >> 20, **told, "error": error}
        setups = {way: (loaded, (name, way, direction, folder, budget)) for way, budget in budgets.items()}
        times = paired_times_apart(setups, rounds)
    for way, row in rows.items():
        row["seconds"] = round(statistics.median(times[way]), 3)
        del row["peak"]
    speedups = {
        f"speedup_over_{other.split()[1]}": {
            way: round(median_ratio(times[other], times[way]), 2) for way in times if way in OURS
        }
        for other in THEIRS
        if other in times
    }
    return {"clip": CASES[name].clip, "held_MiB": held >> 20, **speedups, "ways": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--family", choices=CASES, action="append", help="only this one")
    parser.add_argument("--direction", choices=("encode", "decode"), default="decode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scale", type=int, default=1, help="clips so many times as high and wide")
    parser.add_argument("--without", choices=(*SHARES, *THEIRS), action="append", default=[], help="leave out")
    args = parser.parse_args()
    ways = [way for way in (*OURS, *THEIRS) if way not in args.without]
    torch.set_num_threads(args.threads)
    diffusers.utils.logging.set_verbosity_error()  # it warns of every cast, even to the same type
    table = {}
    for name in args.family or list(CASES):
        CASES[name] = CASES[name].larger(args.scale)  # processes are forks
        table[name] = measure(name, args.direction, args.rounds, ways)
        if not args.json:
            print(name, *(f"{key} {value}" for key, value in table[name].items() if key != "ways"), flush=True)
            for way, row in table[name]["ways"].items():
                print(f"    {way:18}", *(f"{key} {value}" for key, value in row.items()), flush=True)
    print(
        json.dumps({"benchmark": "families", "direction": args.direction, "threads": args.threads, "families": table})
    )


if __name__ == "__main__":
    main()
