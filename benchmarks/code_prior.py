"""Discrete latents feed generation: codes of a small FSQ autoencoder, a prior over them, and laws its clips obey.

    python benchmarks/code_prior.py [--clips 1024] [--autoencoder-steps 600] [--prior-steps 3000] [--out FOLDER]

The world is `bounce`: one disc in a box. The autoencoder (`configs/autoencoder/fsq.yaml`, small form) is trained on
videos of it, the prior on their codes. It then continues clips that neither has seen from their first latent frames.
Beside it stand the clips' own codes, decoded (nothing drawn can be better) and the last given frame held still.
`horizon` counts frames after the given ones until the disc is a radius away from where it truly is; the other
measures are those of docs/worlds.md. `--out` gets the autoencoder, the prior, and a video: true, own codes, drawn.
The last line is one JSON object; seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

import vidlatent as vl
from vidlatent.autoencoders.checkpoint import save_checkpoint
from vidlatent.diffusion.codes import CodeTransformer, CodeTransformerConfig, save_prior
from vidlatent.diffusion.worlds import Bounce, bootstrap, clip_measures, horizon
from vidlatent.quantize import usage
from vidlatent.train import run

FSQ = Path(__file__).parents[1] / "configs" / "autoencoder" / "fsq.yaml"
SIZE, FRAMES, GIVEN = 48, 33, 3  # pixels, frames of a clip, latent frames given of 9
BATCH, DRAWN, WINDOW = 8, 16, 12
TRAINING, HELD_OUT = 0, 1  # families of seeds


def train_autoencoder(world: Bounce, steps: int, out: Path) -> vl.Autoencoder:
    """The small form of the recipe, with few codes for a small prior, on videos of the world."""
    clips = out / "clips"
    clips.mkdir(parents=True)
    for index in range(128):
        vl.write_video(clips / f"{index}.mp4", world.clip((TRAINING, 1, index), FRAMES).video[None], fps=15, crf=1)
    overrides = [f"data.folder={clips}", f"out={out / 'fsq'}", f"stages.0.steps={steps}", f"data.size={SIZE}"]
    overrides += ["data.pool=128", "data.batch=4", "data.zoom=[1, 1]", "average.decay=0.98"]
    overrides += ["model.config.bottleneck={kind: fsq, channels: 4, levels: [8, 5, 5, 5]}"]
    run(FSQ, overrides, smoke=True)
    return vl.load(out / "fsq" / "model.safetensors")


@torch.no_grad()
def codes_of(ae: vl.Autoencoder, videos: Tensor) -> Tensor:
    """Codes (N, t, h, w) of videos (N, 3, T, H, W)."""
    return torch.cat([ae.codes(ae.encode(some).mode())[0] for some in videos.split(16)])


def train_prior(codes: Tensor, ae: vl.Autoencoder, steps: int) -> CodeTransformer:
    """Next-code prediction with AdamW, its rate rising for 100 steps and falling along a cosine."""
    torch.manual_seed(0)
    assert ae.bottleneck is not None
    size = ae.bottleneck.sizes[0]
    prior = CodeTransformer(CodeTransformerConfig(size=size, dim=128, depth=4, heads=4, fingerprint=ae.fingerprint))
    optimizer = torch.optim.AdamW(prior.parameters(), 2e-3, betas=(0.9, 0.95), weight_decay=0.05)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=min(100, steps))
    for step in range(steps):
        loss = prior.loss(codes[torch.randint(len(codes), (BATCH,))])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        (warm if step < 100 else cosine).step()
        if step % 250 == 0:
            print(f"prior {step}/{steps}: {loss.item():.3f} nats a code", flush=True)
    return prior.eval()


def measured(videos: Tensor, truths: list[Tensor], world: Bounce, given: int) -> dict[str, tuple[float, ...]]:
    """Means over clips with 95% bootstrap intervals."""
    rows = []
    for video, truth in zip(videos, truths, strict=True):
        row = clip_measures(video, world, lengths=(FRAMES,), window=WINDOW)[FRAMES]
        row["horizon"] = float(horizon(video[:, given:], truth[given:], world))
        rows.append(row)
    names = ("horizon", "count", "drift", "residual", "inertia", "motion")
    intervals = {name: bootstrap([[row[name] for row in rows]]) for name in names}
    return {name: tuple(round(value, 4) for value in three) for name, three in intervals.items()}


@torch.no_grad()
def continue_clips(world: Bounce, ae: vl.Autoencoder, prior: CodeTransformer) -> tuple[Tensor, dict[str, Tensor], dict]:
    """Clips that nothing was trained on, what was made of each in three ways, and the figures."""
    clips = [world.clip((HELD_OUT, 0, index), FRAMES) for index in range(DRAWN)]
    true, truths = torch.stack([clip.video for clip in clips]), [clip.state["position"] for clip in clips]
    own, given = codes_of(ae, true), ae.latent_spec.num_frames(GIVEN)
    generator = torch.Generator().manual_seed(0)
    drawn = prior.sample(tuple(own.shape[1:]), begin=own[:, :GIVEN], top_k=50, generator=generator)
    videos = {name: ae.decode(ae.from_codes((codes,))) for name, codes in (("own codes", own), ("drawn", drawn))}
    still = videos["own codes"][:, :, given - 1 : given].expand(-1, -1, FRAMES - given, -1, -1)
    videos["held still"] = torch.cat([videos["own codes"][:, :, :given], still], 2)
    rows = {name: measured(video.clamp(-1, 1), truths, world, given) for name, video in videos.items()}
    figures = {"nats_per_code": round(float(prior.loss(own)), 3), "frames_drawn": FRAMES - given}
    return true, videos, figures | {"measures": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1024, help="whose codes the prior is trained on")
    parser.add_argument("--autoencoder-steps", type=int, default=600)
    parser.add_argument("--prior-steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, help="folder for what is made; default: nothing is kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    world, started = Bounce(size=SIZE), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        ae = train_autoencoder(world, args.autoencoder_steps, Path(folder))
    trained = time.process_time()
    codes = codes_of(ae, torch.stack([world.clip((TRAINING, 2, i), FRAMES).video for i in range(args.clips)]))
    encoded = time.process_time()
    prior = train_prior(codes, ae, args.prior_steps)
    seconds = {"autoencoder": round(trained - started), "prior": round(time.process_time() - encoded)}
    true, videos, figures = continue_clips(world, ae, prior)
    used = usage([codes], (prior.config.size,))[0]
    used_figures = {"entropy_nats": round(used.entropy_bits * math.log(2), 3), "perplexity": round(used.perplexity, 1)}
    record = figures | used_figures | {"seconds": seconds}
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        save_checkpoint(ae, args.out / "fsq.safetensors")
        save_prior(prior, args.out / "prior.safetensors")
        beside = torch.cat([true, videos["own codes"], videos["drawn"]], 3).clamp(-1, 1)
        vl.write_video(args.out / "drawn.mp4", torch.cat(list(beside.split(1)), 4), fps=8)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
