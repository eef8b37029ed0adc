"""What a world model of the maze shows of places that it has shown before, inside its window and long after.

    python benchmarks/maze_memory.py MODEL [--clips 16] [--latents 64] [--given 8] [--sinks N] [--json]

A walk through a maze that was not trained on is begun with `--given` latent frames of the truth and continued by the
walk's actions alone. Measured are frames of one pose, at most as far apart as the model's window and at least twice as
far, beside frames of other poses as far apart (what any two places have in common) and the truth through the
autoencoder. "truth" is the PSNR of the continuation against the true frames, first and last eighth.
"""

from __future__ import annotations

import argparse
import json
from statistics import fmean

import torch
from torch import Tensor

import vidlatent as vl
from vidlatent.diffusion import Context, autoregressive, rollout
from vidlatent.diffusion.checkpoint import load_model
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.worlds import Maze, build_world, memory
from vidlatent.diffusion.worlds.stream import VALIDATION
from vidlatent.train.diffusion_worlds import encode_clips

_SHARE = 8
_APART = 8
"""Frames between two looks at a place for the second to count as a return."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--latents", type=int, default=64)
    parser.add_argument("--given", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--sinks", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    record = measured(args)
    if not args.json:
        for name, row in record.items():
            print(name, row)
    print(json.dumps({"benchmark": "maze_memory", **vars(args), "measures": record}))


@torch.no_grad()
def measured(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Means over clips, in dB."""
    dit = load_model(args.model)
    made = Provenance.of(dit)
    ae = vl.load(made.autoencoder)
    world = build_world(made.world["name"], **made.world["options"]) if made.world else None
    if not isinstance(world, Maze):
        raise SystemExit(f"{args.model}: was not trained on the maze")
    frames = ae.latent_spec.num_frames(args.latents + 1)
    clips = [world.clip((0, VALIDATION, 20_000 + index), frames) for index in range(args.clips)]
    encoded = encode_clips(clips, ae, world, skip=1)
    given = made.normalize(encoded["latents"][:, :, : args.given])
    stream = rollout(
        dit,
        schedule=autoregressive(args.steps, shift=made.shift),
        num_frames=args.latents - args.given,
        prompt=given,
        context=Context(actions=encoded["actions"]),
        sinks=args.sinks,
        context_noise=made.context_noise,
    )
    continued = torch.cat([given, *stream], 2)
    window = (dit.config.window or args.latents) * ae.latent_spec.stride[0]
    ways = {"world through the autoencoder": encoded["latents"], "model": made.denormalize(continued)}
    return {
        name: compared(decoded(latents, ae), clips, window, args.given / args.latents) for name, latents in ways.items()
    }


def decoded(latents: Tensor, ae: vl.Autoencoder) -> list[Tensor]:
    """Clips (3, T, H, W) in [-1, 1] without the first latent, which as a clip's first is decoded otherwise."""
    return list(ae.decode(latents, memory="256MiB").clamp(-1, 1)[:, :, 1:])


def compared(videos: list[Tensor], clips: list, window: int, given: float) -> dict[str, float]:
    """Memory within the window and beyond, and nearness to the truth."""
    near, far, chance, early, late = [], [], [], [], []
    for video, clip in zip(videos, clips, strict=True):
        length = video.shape[1]
        pose, truth = clip.state["pose"][-length:], clip.video[:, -length:]
        near += [
            memory(video[:, at : at + window], pose[at : at + window], apart=8)[0]
            for at in range(0, length - window, window)
        ]
        again, elsewhere = memory(video, pose, apart=2 * window)
        far.append(again)
        chance.append(elsewhere)
        start, eighth = int(given * length), length // _SHARE
        early.append(vl.metrics.psnr(video[None, :, start : start + eighth], truth[None, :, start : start + eighth]))
        late.append(vl.metrics.psnr(video[None, :, -eighth:], truth[None, :, -eighth:]))
    found = {"seen within the window": near, "seen long before": far, "other places": chance}
    return {
        **{name: round(fmean(v for v in values if v == v), 2) for name, values in found.items()},
        "truth, at first": round(fmean(early), 2),
        "truth, at last": round(fmean(late), 2),
    }


if __name__ == "__main__":
    main()
