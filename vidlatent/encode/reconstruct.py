"""A clip through the autoencoder and back, frames beside frames, with its latents kept in a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.clip import Seconds, Window, check_count, encoded, look_at
from vidlatent.encode.slabs import Progress, expected_frames, slab_plan
from vidlatent.io import to_uint8
from vidlatent.latents import LatentMeta, LatentWriter
from vidlatent.latents.meta import StoredType
from vidlatent.latents.writer import TYPES
from vidlatent.streaming import Plan
from vidlatent.streaming.planner import parse_bytes


@dataclass(frozen=True)
class Pair:
    """A run of frames and what became of them, both uint8 (T, H, W, 3), with their T times in the source."""

    original: Tensor
    reconstruction: Tensor
    pts_seconds: tuple[Fraction, ...]


def reconstruct_clip(
    source: str | os.PathLike[str],
    ae: Autoencoder,
    latents_path: str | os.PathLike[str],
    on_pair: Callable[[Pair], None],
    *,
    memory: int | str | None = None,
    start: Seconds | None = None,
    stop: Seconds | None = None,
    size: int | tuple[int, int] | None = None,
    fps: Seconds | None = None,
    dtype: StoredType = "float16",
    model_name: str | None = None,
    progress: Progress | None = None,
) -> LatentMeta:
    """Encode and decode in one pass; `on_pair` is given each run of frames as soon as both sides are there.

    What is decoded are the latents as they are stored, rounding included. Half of `memory` goes to each direction.
    The arguments are those of `encode_clip`, and so are the errors.
    """
    window = Window(start, stop, size, fps)
    memory = None if memory is None else parse_bytes(memory) // 2
    plan, meta = look_at(source, ae, window, memory=memory, dtype=dtype, keep_logvar=False, name=model_name)
    comparison = _Comparison(ae, slab_plan(ae, "decode", meta.size, memory), meta, on_pair)
    with window.open(source, chunk_frames=plan.chunk) as video, LatentWriter(latents_path, meta=meta) as writer:
        expected = expected_frames(video.spec, meta.source)
        for clip, latents in encoded(video, ae, plan):
            writer.append(latents, pts_seconds=clip.pts_seconds if clip else ())
            if clip:
                comparison.expect(clip.frames, clip.pts_seconds)
            comparison.decode(latents)
            if progress:
                progress(comparison.num_frames, expected)
        comparison.finish()
        if progress:
            progress(comparison.num_frames, expected)
        check_count(writer, ae)
    return writer.meta


class _Comparison:
    """Frames that wait for their reconstruction: the decoder answers later than the encoder asks."""

    def __init__(self, ae: Autoencoder, plan: Plan, meta: LatentMeta, on_pair: Callable[[Pair], None]) -> None:
        self._stream = ae.stream_decoder(plan=plan, size=meta.size)
        self._dtype, self._on_pair = TYPES[meta.dtype], on_pair
        self._originals = torch.empty((0, *meta.size, 3), dtype=torch.uint8)
        self._times: tuple[Fraction, ...] = ()
        self.num_frames = 0

    def expect(self, frames: Tensor, times: tuple[Fraction, ...]) -> None:
        self._originals = torch.cat([self._originals, frames])
        self._times += times

    def decode(self, latents: Tensor) -> None:
        if latents.shape[2]:
            self._give(self._stream.push(latents.to(self._dtype)))

    def finish(self) -> None:
        for video in self._stream.drain():
            self._give(video)

    def _give(self, video: Tensor) -> None:
        # The last latent frame may hold more frames than the clip has.
        count = min(video.shape[2], len(self._originals))
        if not count:
            return
        pair = Pair(self._originals[:count], to_uint8(video[:, :, :count]), self._times[:count])
        self._originals, self._times = self._originals[count:].clone(), self._times[count:]
        self.num_frames += count
        self._on_pair(pair)
