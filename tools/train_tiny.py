"""Train vidlatent-tiny: start as the optimal linear code of 4x8x8 patches, then learn what it misses.

    config=configs/autoencoder/vidlatent-tiny.yaml
    python tools/train_tiny.py $config --data natural/train --out runs/tiny
    python tools/train_tiny.py $config --data natural/train --out runs/tiny --export
    python tools/train_tiny.py $config --data natural/test --out runs/tiny --evaluate

The first resumes from the last checkpoint in `--out`; the second writes the weights that the package ships; the third
measures them beside the linear code on clips they have not seen.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder, build, load
from vidlatent.autoencoders.checkpoint import save_checkpoint
from vidlatent.autoencoders.tiny.model import TinyConfig, at_nothing
from vidlatent.config import RunConfig, load_config
from vidlatent.io import open_video, to_float
from vidlatent.metrics import PatchPCA, psnr
from vidlatent.nn import Conv3d, DepthToSpace

WEIGHTS = Path(__file__).parents[1] / "vidlatent/autoencoders/tiny/weights/vidlatent-tiny.safetensors"
WINDOW_SIZE = 256


class StageConfig(RunConfig):
    """A part of the run: what learns, how deep the decoder is at the latent grid, and the rates."""

    learns: Literal["all", "decoder"]
    decoder_blocks: int
    steps: int
    learning_rate: float
    vector_learning_rate: float
    linear_learning_rate: float


class TrainConfig(RunConfig):
    """A run of this script; the configuration file says what each number is."""

    windows_per_clip: int
    num_frames: int
    crop_size: int
    batch_size: int
    stages: list[StageConfig]
    warmup_steps: int
    weight_decay: float
    gradient_clip: float
    ema_decay: float
    seed: int


def gather_windows(clips: list[Path], config: TrainConfig, cache: Path) -> np.ndarray:
    """Windows as uint8 (N, T, 256, 256, 3): a crop at native resolution and one of the frame at 256 rows, of each."""
    if cache.exists():
        return np.load(cache, mmap_mode="r")
    rng, windows = np.random.default_rng(config.seed), []
    for clip in clips:
        for size in (None, WINDOW_SIZE):
            windows += [random_crop(window, rng) for window in clip_windows(clip, size, config)]
        print(f"{clip.name}: {len(windows)} windows so far", flush=True)
    np.save(cache, np.stack(windows))
    return np.load(cache, mmap_mode="r")


def clip_windows(clip: Path, size: int | None, config: TrainConfig) -> list[np.ndarray]:
    """Evenly spaced windows of a clip that are large enough to crop."""
    with open_video(clip, size=size, chunk_frames=config.num_frames, colour="fast", on_damage="keep") as source:
        windows = [c.frames.numpy() for c in source if len(c.frames) == config.num_frames]
    picked = windows[:: max(1, len(windows) // config.windows_per_clip)][: config.windows_per_clip]
    return [w for w in picked if min(w.shape[1:3]) >= WINDOW_SIZE]


def random_crop(window: np.ndarray, rng: np.random.Generator, size: int = WINDOW_SIZE) -> np.ndarray:
    """A square of `size` pixels, anywhere."""
    y, x = (rng.integers(length - size + 1) for length in window.shape[1:3])
    return window[:, y : y + size, x : x + size]


def fit_linear_code(windows: np.ndarray, every: int = 5) -> PatchPCA:
    """The optimal linear code of the same latent size, on a part of the windows."""
    pca = PatchPCA((4, 8, 8), 16)
    for window in windows[::every]:
        pca.add(to_float(torch.from_numpy(window)))
    return pca.solve()


@torch.no_grad()
def start_from(ae: Autoencoder, pca: PatchPCA) -> None:
    """Make the linear paths the code's analysis and synthesis, scaled so that each latent channel has unit variance."""
    analysis, synthesis = ae.encoder[1].shortcut[1], ae.decoder[0].shortcut[0]
    assert isinstance(analysis, Conv3d)
    assert isinstance(synthesis, Conv3d)
    weights = (pca.basis / pca.scale).T
    analysis.weight.copy_(weights.view_as(analysis.weight))
    analysis.bias.copy_(-weights @ pca.mean)
    synthesis.weight.copy_((pca.basis * pca.scale).view_as(synthesis.weight))
    synthesis.bias.copy_(pca.mean)


def with_decoder_blocks(blocks: int, seed: int = 0) -> Autoencoder:
    """The model with random weights and `blocks` blocks at the latent grid of its decoder."""
    return build("vidlatent-tiny", seed=seed, decoder_blocks=(TinyConfig.decoder_blocks[0], blocks))


@torch.no_grad()
def grown(ae: Autoencoder, blocks: int, seed: int) -> Autoencoder:
    """The same function with more blocks at the latent grid of its decoder, each of which starts at nothing."""
    more = with_decoder_blocks(blocks, seed)
    more.encoder.load_state_dict(ae.encoder.state_dict())
    more.decoder[0].shortcut.load_state_dict(ae.decoder[0].shortcut.state_dict())
    # The decoder's body is a convolution, the blocks at the latent grid, then what has to stay behind them.
    old, new = list(ae.decoder[0].body), list(more.decoder[0].body)
    end_of_blocks = next(i for i, part in enumerate(old) if isinstance(part, DepthToSpace)) - 1
    end_of_added = end_of_blocks + len(new) - len(old)
    for part, source in zip(new[:end_of_blocks] + new[end_of_added:], old, strict=True):
        part.load_state_dict(source.state_dict())
    for block in new[end_of_blocks:end_of_added]:
        at_nothing(block.body[-1])
    return more


def batches(windows: np.ndarray, config: TrainConfig, seed: int, step: int) -> Tensor:
    """The batch of a step, by its seed and number alone: random crops, half of them mirrored, in [-1, 1]."""
    rng, crops = np.random.default_rng((seed, step)), []
    for index in rng.integers(len(windows), size=config.batch_size):
        crop = to_float(torch.from_numpy(random_crop(windows[index], rng, config.crop_size)))
        crops.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    return torch.cat(crops).contiguous(memory_format=torch.channels_last_3d)


def loss_of(got: Tensor, want: Tensor) -> Tensor:
    """Mean over clips of the log of the squared error: decibels, so that hard clips do not drown the others."""
    return (got - want).square().mean((1, 2, 3, 4)).add(1e-4).log().mean()


def share_of_rate(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up to 1, then a half cosine to zero."""
    return min(1.0, (step + 1) / warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


class Optimizer:
    """Muon for the network's kernels, as matrices of outputs by taps and inputs; AdamW for vectors and linear paths."""

    def __init__(self, ae: Autoencoder, stage: StageConfig, weight_decay: float) -> None:
        halves = [ae.decoder[0]] if stage.learns == "decoder" else [ae.encoder[1], ae.decoder[0]]
        network = [p for half in halves for p in half.body.parameters()]
        linear = [p for half in halves for p in half.shortcut.parameters()]
        self.kernels = [p for p in network if p.ndim > 1]
        self.matrices = [nn.Parameter(as_matrix(kernel.detach()).clone()) for kernel in self.kernels]
        muon = torch.optim.Muon(
            [{"params": self.matrices, "base": stage.learning_rate}],
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        vectors = {"params": [p for p in network if p.ndim == 1], "base": stage.vector_learning_rate}
        groups = [vectors, {"params": linear, "base": stage.linear_learning_rate}]
        self.parts = (muon, torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0))

    def step(self, share: float) -> None:
        """One update at `share` of each rate."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = as_matrix(kernel.grad)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["base"] * share
            part.step()
        with torch.no_grad():
            for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
                kernel.copy_(matrix.view(len(kernel), *kernel.shape[2:], kernel.shape[1]).movedim(-1, 1))

    def state_dict(self) -> dict[str, list]:
        return {"matrices": [m.detach() for m in self.matrices], "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, saved: dict[str, list]) -> None:
        with torch.no_grad():
            for matrix, value in zip(self.matrices, saved["matrices"], strict=True):
                matrix.copy_(value)
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(state)


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (O, I, ...) as (O, taps * I), the order in which channels-last kernels lie."""
    return kernel.movedim(1, -1).flatten(1)


def train(config: TrainConfig, data: Path, out: Path) -> None:
    """Run each stage, or go on from the last checkpoint."""
    windows = gather_windows(sorted(data.iterdir()), config, out / "windows.npy")
    pca, average = fit_linear_code(windows), with_decoder_blocks(config.stages[0].decoder_blocks, config.seed)
    start_from(average, pca)
    for number, stage in enumerate(config.stages):
        ae = grown(average, stage.decoder_blocks, config.seed)
        average = train_stage(config, number, ae, windows, pca, out)


def train_stage(
    config: TrainConfig, number: int, ae: Autoencoder, windows: np.ndarray, pca: PatchPCA, out: Path
) -> Autoencoder:
    """Train from the weights given or from the stage's checkpoint; returns the averaged weights."""
    stage, checkpoint, first = config.stages[number], out / f"stage-{number}.pt", 0
    average = copy.deepcopy(ae)
    ae.encoder.requires_grad_(stage.learns == "all")
    optimizer = Optimizer(ae.train(), stage, config.weight_decay)
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved["step"]
        for thing, name in ((ae, "model"), (average, "average"), (optimizer, "optimizer")):
            thing.load_state_dict(saved[name])
    started, running = time.time(), 0.0
    for step in range(first, stage.steps):
        batch = batches(windows, config, config.seed + number, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = ae.decoder(ae.encoder(batch))
        loss = loss_of(got.float(), batch)
        ae.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ae.parameters(), config.gradient_clip)
        optimizer.step(share_of_rate(step, stage.steps, config.warmup_steps))
        with torch.no_grad():
            decay = min(config.ema_decay, (step + 1) / (step + 10))
            for kept, new in zip(average.parameters(), ae.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
            gain = (loss_of(pca.reconstruct(batch), batch) - loss).item() * 10 / math.log(10)
        running = 0.98 * running + 0.02 * gain
        if step % 100 == 0:
            gain_db, seconds = running / (1 - 0.98 ** (step - first + 1)), time.time() - started
            row = {"stage": number, "step": step, "gain_over_pca_db": round(gain_db, 3), "seconds": round(seconds)}
            print(json.dumps(row), flush=True)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if (step + 1) % 500 == 0 or step + 1 == stage.steps:
            state = {"step": step + 1, "model": ae.state_dict(), "average": average.state_dict()}
            torch.save(state | {"optimizer": optimizer.state_dict()}, out / "next.pt")
            (out / "next.pt").replace(checkpoint)
    return average


@torch.no_grad()
def export(config: TrainConfig, out: Path, target: Path) -> None:
    """Write the averaged weights in float16, with the latents' statistics over the training windows."""
    ae = with_decoder_blocks(config.stages[-1].decoder_blocks)
    checkpoint = out / f"stage-{len(config.stages) - 1}.pt"
    ae.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    windows = np.load(out / "windows.npy", mmap_mode="r")
    latents = torch.cat([ae.encode(to_float(torch.from_numpy(window.copy()))).mean for window in windows[::8]])
    channels = latents.transpose(0, 1).flatten(1)
    mean, std = (tuple(round(v, 4) for v in values.tolist()) for values in (channels.mean(1), channels.std(1)))
    described = build("vidlatent-tiny", decoder_blocks=ae.config.decoder_blocks, mean=mean, std=std)
    described.load_state_dict(ae.state_dict())
    target.parent.mkdir(exist_ok=True)
    save_checkpoint(described, target, dtype=torch.float16)
    (target.parent / "vidlatent-tiny.log.jsonl").write_text((out / "log.jsonl").read_text())


@torch.no_grad()
def evaluate(clips: list[Path], config: TrainConfig, out: Path, checkpoint: Path) -> None:
    """PSNR of the exported weights and of the linear code on the centre crop of each clip's first frames."""
    ae, pca, rows = load(checkpoint), fit_linear_code(np.load(out / "windows.npy", mmap_mode="r")), []
    for clip in clips:
        with open_video(clip, size=(WINDOW_SIZE, WINDOW_SIZE), chunk_frames=config.num_frames) as source:
            video = to_float(next(iter(source)).frames)
        posterior = ae.encode(video)
        got = ae.decode(posterior.mode(), num_frames=posterior.num_frames, size=posterior.size).clamp(-1, 1)
        rows.append({"clip": clip.name, "psnr": psnr(got, video), "pca_psnr": psnr(pca.reconstruct(video), video)})
        print("{clip:40} {psnr:6.2f} dB, linear code {pca_psnr:6.2f} dB".format(**rows[-1]), flush=True)
    means = {key: round(sum(row[key] for row in rows) / len(rows), 3) for key in ("psnr", "pca_psnr")}
    print(json.dumps(means | {"gain_db": round(means["psnr"] - means["pca_psnr"], 3), "clips": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value")
    parser.add_argument("--data", type=Path, required=True, help="folder of clips: to train on, or to evaluate on")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and of the training windows")
    parser.add_argument("--export", action="store_true", help="write the last checkpoint where the package finds it")
    parser.add_argument("--evaluate", action="store_true", help="measure the exported weights on --data")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="file to export to and to evaluate")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0: all")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_config(TrainConfig, args.config, args.overrides)
    if args.evaluate:
        evaluate(sorted(args.data.iterdir()), config, args.out, args.weights)
    elif args.export:
        export(config, args.out, args.weights)
    else:
        train(config, args.data, args.out)


if __name__ == "__main__":
    main()
