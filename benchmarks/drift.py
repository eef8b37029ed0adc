"""Drift and law residuals of generated clips at 1x, 4x and 16x the training length, on the bouncing world.

    python benchmarks/drift.py --forcing runs/tiny/model.safetensors [--full FILE ...] [--few-step FILE ...] \
        [--clips 16] [--lengths 1 4 16] [--out FOLDER] [--beside FOLDER/drift.json ...] [--json]

Each option takes one file per training seed. Methods: "forcing" and "few-step" are rollouts frame after frame with a
key-value cache, "full" samples all frames together, "fifo" slides a queue of the training length over the model of
"full" (a causal model's weights serve for both, seen without its mask). "real" is the world itself through the
autoencoder: nothing generated can be asked to be better. Intervals are 95% bootstrap over training seeds and clips.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from drift_plots import plot, table
from torch import Tensor

import vidlatent as vl
from vidlatent.diffusion.checkpoint import load_model
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.rollout import rollout
from vidlatent.diffusion.samplers import euler
from vidlatent.diffusion.schedule import Schedule, fifo, full_sequence
from vidlatent.diffusion.stochastic import renoise
from vidlatent.diffusion.worlds import Bounce, bootstrap, build_world, clip_measures
from vidlatent.diffusion.worlds.stream import VALIDATION

Results = dict[str, dict[int, dict[str, list[list[float]]]]]
_DECODED_AT_ONCE = 4


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    models = {"forcing": args.forcing, "full": args.full, "fifo": args.full, "few-step": args.few_step}
    first = next(path for paths in models.values() for path in paths)
    made = Provenance.of(load_model(first))
    ae = vl.load(made.autoencoder)
    world = build_world(made.world["name"], **made.world["options"]) if made.world else None
    if not isinstance(world, Bounce):
        raise SystemExit(f"{first}: was not trained on the bouncing world")
    multiples = {multiple: multiple * made.frames * ae.latent_spec.stride[0] for multiple in args.lengths}
    results: Results = {"real": _measured([_real(world, ae, args.clips, max(multiples.values()))], world, multiples)}
    seconds = {}
    for method, paths in models.items():
        started = time.process_time()
        videos = [SAMPLERS[method](load_model(path), ae, multiples, args) for path in paths]
        if videos:
            results[method] = _measured(videos, world, multiples)
            seconds[method] = round(time.process_time() - started, 1)
            print(f"{method}: {seconds[method]} s", flush=True)
    _report(results, seconds, args)


def _report(results: Results, seconds: dict[str, float], args: argparse.Namespace) -> None:
    summary = {} if args.beside is None else _measured_before(args.beside)
    summary |= {
        method: {str(m): {name: bootstrap(groups) for name, groups in found.items()} for m, found in by_length.items()}
        for method, by_length in results.items()
    }
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "drift.json").write_text(json.dumps(_strict(summary), indent=1))
        for measure in ("drift", "brightness", "count", "inertia", "motion"):
            (args.out / f"{measure}.svg").write_text(plot(summary, measure))
    print(table(summary))
    last, first = str(max(args.lengths)), str(min(args.lengths))
    inertia = {method: [found[at]["inertia"][0] for at in (last, first)] for method, found in summary.items()}
    ratios = {method: round(late / max(early, 1e-9), 3) for method, (late, early) in inertia.items()}
    record = {"law_residual_ratio": ratios, "clips": args.clips, "steps": args.steps, "seconds": seconds}
    if args.json:
        print(json.dumps(_strict(record | {"measures": summary})))


def _measured_before(paths: list[Path]) -> dict:
    """Rows of earlier runs, so that methods can be measured one by one; the first run's "real" stands."""
    rows: dict = {}
    for path in paths:
        rows = json.loads(path.read_text()) | rows
    nan = float("nan")
    return {
        method: {
            m: {name: [nan if v is None else v for v in three] for name, three in found.items()}
            for m, found in by.items()
        }
        for method, by in rows.items()
    }


def _strict(value: object) -> object:
    """JSON has no nan: null says that a measure had nothing to measure."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if value != value else value


def _measured(videos: list[dict[int, list[Tensor]]], world: Bounce, multiples: dict[int, int]) -> dict:
    """Measures by multiple and name: one list for each training seed, one number for each clip."""
    found: dict[int, dict[str, list[list[float]]]] = {multiple: {} for multiple in multiples}
    for seed in videos:
        for multiple, frames in multiples.items():
            clips = [clip_measures(clip[:, :frames], world, lengths=(frames,))[frames] for clip in seed[multiple]]
            for name in clips[0]:
                found[multiple].setdefault(name, []).append([clip[name] for clip in clips])
    return found


@torch.no_grad()
def _real(world: Bounce, ae: vl.Autoencoder, clips: int, frames: int) -> dict[int, list[Tensor]]:
    """The world's own clips, encoded and decoded; one clip serves for all lengths."""
    total = ae.latent_spec.num_frames(ae.latent_spec.num_latent_frames(frames) + 1)
    videos = []
    for index in range(clips):
        video = world.clip((0, VALIDATION, 10_000 + index), total).video[None]
        videos.append(ae.decode(ae.encode(video, memory="64MiB").mode(), num_frames=total, memory="64MiB")[0, :, 1:])
    return _every(videos)


def _every(videos: list[Tensor]) -> dict:
    class Same(dict):
        def __missing__(self, multiple: int) -> list[Tensor]:
            return videos

    return Same()


def _decoded(latents: Iterator[Tensor], made: Provenance, ae: vl.Autoencoder) -> list[Tensor]:
    """Clips (3, T, H, W) in [-1, 1] without the first latent's single frame."""
    whole = made.denormalize(torch.cat(list(latents), 2))
    stream = [torch.cat([d.push(whole[i : i + _DECODED_AT_ONCE]), d.finish()], 2) for i, d in _decoders(whole, ae)]
    return list(torch.cat(stream).clamp(-1, 1)[:, :, 1:])


def _decoders(whole: Tensor, ae: vl.Autoencoder) -> Iterator[tuple[int, object]]:
    for start in range(0, len(whole), _DECODED_AT_ONCE):
        yield start, ae.stream_decoder(plan=vl.Plan((2,), chunk=8))


def _grid(made: Provenance, ae: vl.Autoencoder) -> tuple[int, int]:
    return ae.latent_spec.latent_size(*made.size)


def forcing(dit: VideoDiT, ae: vl.Autoencoder, multiples: dict[int, int], args: argparse.Namespace) -> dict:
    """Frame after frame with a cache; one long clip holds all lengths."""
    made = Provenance.of(dit)
    steps = made.steps or args.steps
    schedule = Schedule(steps, block=dit.config.block, lag=steps, shift=made.shift, levels=made.levels)
    stream = rollout(
        dit,
        schedule=schedule,
        num_frames=max(multiples) * made.frames + 1,
        size=_grid(made, ae),
        batch=args.clips,
        sampler=euler if made.levels is None else renoise,
        sinks=args.sinks,
        context_noise=made.context_noise if args.context_noise is None else args.context_noise,
        seed=args.seed,
    )
    return _every(_decoded(stream, made, ae))


def full(dit: VideoDiT, ae: vl.Autoencoder, multiples: dict[int, int], args: argparse.Namespace) -> dict:
    """All frames of a clip together, each length sampled by itself, the longest with fewer clips."""
    made, dit = Provenance.of(dit), _unmasked(dit)
    videos = {}
    for multiple in multiples:
        clips = max(2, min(args.clips, args.clips * 4 // multiple))
        stream = rollout(
            dit,
            schedule=full_sequence(args.steps, shift=made.shift),
            num_frames=multiple * made.frames + 1,
            size=_grid(made, ae),
            batch=clips,
            seed=args.seed,
        )
        videos[multiple] = _decoded(stream, made, ae)
    return videos


def fifo_queue(dit: VideoDiT, ae: vl.Autoencoder, multiples: dict[int, int], args: argparse.Namespace) -> dict:
    """A queue of the training length over a model of whole clips, which nothing was trained for."""
    made, dit = Provenance.of(dit), _unmasked(dit)
    size = _grid(made, ae)
    start = rollout(
        dit,
        schedule=full_sequence(args.steps, shift=made.shift),
        num_frames=made.frames,
        size=size,
        batch=args.clips,
        seed=args.seed,
    )
    stream = rollout(
        dit,
        schedule=fifo(made.frames, shift=made.shift),
        num_frames=max(multiples) * made.frames + 1,
        base=torch.cat(list(start), 2),
        window=0,
        seed=args.seed,
    )
    return _every(_decoded(stream, made, ae))


def _unmasked(dit: VideoDiT) -> VideoDiT:
    """The same weights, every frame seeing every frame."""
    free = VideoDiT(dit.config.model_copy(update={"causal": False, "window": None, "sinks": 0}))
    free.load_state_dict(dit.state_dict())
    free.metadata = dit.metadata
    return free.eval()


SAMPLERS: dict[str, Callable[..., dict]] = {
    "forcing": forcing,
    "full": full,
    "fifo": fifo_queue,
    "few-step": forcing,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for method in ("forcing", "full", "few-step"):
        parser.add_argument(f"--{method}", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--sinks", type=int, help="default: as trained")
    parser.add_argument("--context-noise", type=float, help="default: what the model records")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--beside", type=Path, nargs="+", metavar="JSON", help="rows measured before: their drift.json")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not (args.forcing or args.full or args.few_step):
        parser.error("give at least one model by --forcing, --full or --few-step")
    return args


if __name__ == "__main__":
    main()
