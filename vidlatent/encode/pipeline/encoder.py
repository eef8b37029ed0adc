"""Clips of uint8 frames to latents, several of one shape at once, in slabs that fit the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, Posterior
from vidlatent.autoencoders.posterior import LOGVAR_RANGE
from vidlatent.encode.slabs import slab_plan
from vidlatent.errors import BudgetTooSmall
from vidlatent.latents.dataset.settings import DatasetKind
from vidlatent.streaming import Plan

_MOST_CLIPS = 64
_SHAPES = 1024  # of clips, whose plans are remembered
_WHOLE_PIXELS = 2**22  # of a clip that need not be cut
_SLAB_PIXELS = {"cpu": 2**19, "cuda": 2**24}  # beyond it, more at once is no faster


class ClipEncoder:
    """An autoencoder and how it is used: its budget, and what of its answer is kept.

    Args:
        ae: On the device and in the type that it computes with.
        memory: Budget in bytes or as "2GiB" for a batch; None takes slabs of fixed size.
        kind: The "mean", the "moments" (mean and log-variance), or a "sample", which depends on the clip's key alone.
        batch: Most clips at once; None decides by their size.
    """

    def __init__(
        self, ae: Autoencoder, *, memory: int | str | None = None, kind: DatasetKind = "mean", batch: int | None = None
    ) -> None:
        self.ae, self.kind = ae, kind
        self._memory, self._batch = memory, batch
        self._way = lru_cache(_SHAPES)(self._find_way)  # by (T, H, W)

    def batch_of(self, shape: tuple[int, ...]) -> int:
        """How many clips of (T, H, W) are encoded at once; 1 where no plan fits, which `encode` then tells."""
        try:
            return self._way(shape)[0]
        except BudgetTooSmall:
            return 1

    def _find_way(self, shape: tuple[int, ...]) -> tuple[int, Plan | None]:
        """How many clips at once, and in which slabs; None is all frames in one pass."""
        frames, height, width = shape
        plan: Plan | None = slab_plan(self.ae, "encode", (height, width), None)
        assert plan is not None
        pixels = min(frames, plan.chunk or frames) * height * width
        if self._memory is None and frames * height * width <= _WHOLE_PIXELS:
            # Seventeen frames as sixteen and one would cost more than all at once.
            plan, pixels = None, frames * height * width
        wanted = _SLAB_PIXELS.get(self.ae.device.type, _SLAB_PIXELS["cpu"]) // pixels
        batch = self._batch or max(1, min(_MOST_CLIPS, wanted))
        if self._memory is None:
            return batch, plan
        while True:
            try:
                return batch, slab_plan(self.ae, "encode", (height, width), self._memory, batch=batch)
            except BudgetTooSmall:
                if batch == 1:
                    raise
                batch //= 2

    def encode(self, clips: Sequence[Sequence[Tensor]], keys: Sequence[str]) -> list[Tensor]:
        """Latents (1, C', t, h, w) of clips of one shape, each given as runs of frames uint8 (n, H, W, 3)."""
        plan = self._way((sum(len(run) for run in clips[0]), *clips[0][0].shape[1:3]))[1]
        if plan is None:
            noise = _Noise(keys) if self.kind == "sample" else None
            return list(self._kept(self._whole(_batch(clips)), noise).split(1))
        runs = (run.unsqueeze(0) for run in clips[0]) if len(clips) == 1 else iter([_batch(clips)])
        return list(torch.cat(list(self._slabs(runs, keys, plan)), 2).split(1))

    @torch.no_grad()
    def _whole(self, frames: Tensor) -> Tensor:
        """Moments of clips (B, T, H, W, 3) in one pass, without what a sweep keeps between slabs."""
        posterior = self.ae.encode(self._video(frames))
        return posterior.mean if posterior.logvar is None else torch.cat([posterior.mean, posterior.logvar], 1)

    def stream(self, runs: Iterable[Tensor], size: tuple[int, int], key: str) -> Iterator[Tensor]:
        """Latents (1, C', t, h, w) of one clip as they are complete, t maybe 0; memory stays as it is."""
        plan = self._way((1 << 20, *size))[1]
        assert plan is not None
        yield from self._slabs((run.unsqueeze(0) for run in runs), [key], plan)

    def _slabs(self, runs: Iterable[Tensor], keys: Sequence[str], plan: Plan) -> Iterator[Tensor]:
        noise = _Noise(keys) if self.kind == "sample" else None
        with self.ae.stream_encoder(plan=plan) as stream:
            for slab in _regrouped(runs, plan.chunk):
                yield self._kept(stream.push(self._video(slab)), noise)
            for moments in stream.drain():
                yield self._kept(moments, noise)

    def _video(self, frames: Tensor) -> Tensor:
        """uint8 (B, T, H, W, 3) as (B, 3, T, H, W) in [-1, 1] on the device: u / 127.5 - 1 in float32, then rounded."""
        video = frames.to(self.ae.device).permute(0, 4, 1, 2, 3)
        return video.to(torch.float32).div_(127.5).sub_(1).to(self.ae.dtype)

    def _kept(self, moments: Tensor, noise: _Noise | None) -> Tensor:
        channels = self.ae.latent_spec.channels
        mean = moments[:, :channels].float()
        if self.kind == "mean" or not self.ae.has_logvar:
            return mean.cpu()
        logvar = moments[:, channels:].float().clamp(*LOGVAR_RANGE)
        if noise is None:
            return torch.cat([mean, logvar], 1).cpu()
        return noise.sampled(Posterior(mean.cpu(), logvar.cpu()))


class _Noise:
    """Draws that depend on a clip's key and the latent frame, not on slabs, batches or workers."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._generators = [torch.Generator().manual_seed(int(key[:15], 16)) for key in keys]

    def sampled(self, posterior: Posterior) -> Tensor:
        assert posterior.logvar is not None
        out = torch.empty_like(posterior.mean)
        for index, generator in enumerate(self._generators):
            for frame in range(out.shape[2]):
                at = (slice(index, index + 1), slice(None), slice(frame, frame + 1))
                out[at] = Posterior(posterior.mean[at], posterior.logvar[at]).sample(generator)
        return out


def _batch(clips: Sequence[Sequence[Tensor]]) -> Tensor:
    """Clips of one shape (B, T, H, W, 3), copied only where they must be."""
    joined = [clip[0] if len(clip) == 1 else torch.cat(list(clip)) for clip in clips]
    return joined[0].unsqueeze(0) if len(joined) == 1 else torch.stack(joined)


def _regrouped(runs: Iterable[Tensor], chunk: int | None) -> Iterator[Tensor]:
    """The same frames (B, n, H, W, 3) in runs of `chunk`, the last one shorter."""
    held: list[Tensor] = []
    count = 0
    for run in runs:
        for part in run.split(chunk or run.shape[1], 1):
            held.append(part)
            count += part.shape[1]
            while chunk is not None and count >= chunk:
                whole = held[0] if len(held) == 1 else torch.cat(held, 1)
                yield whole[:, :chunk]
                held = [whole[:, chunk:]] if count > chunk else []
                count -= chunk
    if count:
        yield held[0] if len(held) == 1 else torch.cat(held, 1)
