"""What is measured while an autoencoder is trained: reconstructions of fixed clips, its codes, its latents."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.errors import InputError
from vidlatent.io import write_video
from vidlatent.metrics import psnr, ssim
from vidlatent.quantize import usage
from vidlatent.train.autoencoder_config import AutoencoderConfig
from vidlatent.train.autoencoder_models import Statistics
from vidlatent.train.clips import ClipBatches, ClipDataConfig, find_videos, fixed_windows

_STATISTICS_BATCHES = 8


class Evaluation:
    """Fixed clips, read when first needed; `statistics` are those of the latents when they were last measured."""

    def __init__(self, config: AutoencoderConfig, ae: Autoencoder, data: ClipDataConfig) -> None:
        self.config, self.ae, self.data = config.evaluation, ae, data
        self._seed, self._has_teacher = config.seed, config.teacher is not None
        self._clips: list[tuple[str, Tensor]] = []
        self.statistics: Statistics | None = None
        self.frames, self.folder = self.config.frames or data.frames, self.config.folder or data.folder
        if not self.folder.is_dir():
            raise InputError(f"evaluation.folder={self.folder}: no such folder")
        longest = max(video.seconds * video.fps for video in find_videos(self.folder))
        if longest < self.frames:
            raise InputError(
                f"evaluation.frames={self.frames}: no video in {self.folder} is that long: take {int(longest)} or fewer"
            )

    def run(self, folder: Path | None) -> dict[str, float]:
        """Means over clips of PSNR and SSIM, usage of codebooks; writes each clip beside its reconstruction."""
        metrics: dict[str, list[float]] = {}
        codes: list[tuple[Tensor, ...]] = []
        for name, video in self._fixed():
            posterior = self.ae.encode(video)
            latents = posterior.mode()
            got = self.ae.decode(latents, num_frames=posterior.num_frames, size=posterior.size).float().cpu()
            metrics.setdefault("psnr", []).append(psnr(got.clamp(-1, 1), video))
            if min(video.shape[3:]) >= 11:
                metrics.setdefault("ssim", []).append(ssim(got, video))
            if self.ae.bottleneck and self.ae.bottleneck.sizes:
                codes.append(self.ae.codes(latents))
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                write_video(folder / f"{name}.mp4", _side_by_side(video, got), fps=8, crf=18)
        if not self._has_teacher and not codes:
            self.statistics = self._measure_statistics()
        return {name: sum(values) / len(values) for name, values in metrics.items()} | self._usage(codes)

    def _fixed(self) -> list[tuple[str, Tensor]]:
        if not self._clips:
            size = self.data.rows_columns if self.config.size is None else (self.config.size, self.config.size)
            self._clips = fixed_windows(self.folder, self.config.clips, self.frames, size)
            if not self._clips:
                raise InputError(f"evaluation: no video in {self.folder} has {self.frames} frames")
        return self._clips

    def _measure_statistics(self) -> Statistics:
        """Of random clips as the last stage trains on them."""
        changes = {"images": 0.0, "pool": None, "batch": min(2, self.data.batch)}
        batches = ClipBatches(self.data.model_copy(update=changes), seed=self._seed, stage=1 << 16)
        found = [self.ae.encode(batches.batch(number)["video"]).mode() for number in range(_STATISTICS_BATCHES)]
        channels = torch.cat([z.transpose(0, 1).flatten(1) for z in found], 1).double()
        mean, std = channels.mean(1), channels.std(1).clamp_min(1e-6)
        return tuple(round(v, 5) for v in mean.tolist()), tuple(round(v, 5) for v in std.tolist())

    def _usage(self, codes: list[tuple[Tensor, ...]]) -> dict[str, float]:
        if not codes or not self.ae.bottleneck:
            return {}
        joined = [torch.cat([code.flatten() for code in level]) for level in zip(*codes, strict=True)]
        used = usage(joined, self.ae.bottleneck.sizes)
        return {
            f"codebook_{index}_{name}": value
            for index, level in enumerate(used)
            for name, value in (("share", level.share), ("perplexity", level.perplexity))
        }


def _side_by_side(video: Tensor, got: Tensor) -> Tensor:
    """Original and reconstruction as frames (T, H, 2 W, 3), uint8."""
    from vidlatent.io import to_uint8

    return to_uint8(torch.cat([video, got.clamp(-1, 1)], 4))
