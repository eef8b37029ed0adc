"""One latent file to one video file: read, decode and write slab by slab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.slabs import Progress, slab_plan
from vidlatent.errors import LatentFileError
from vidlatent.io import VideoWriter
from vidlatent.io.sink import Codec
from vidlatent.latents import LatentClip
from vidlatent.streaming import Plan

_ROUNDING_SECONDS = Fraction(1, 1000)
_TIMES_AT_ONCE = 4096


def decode_clip(
    latents_path: str | os.PathLike[str],
    ae: Autoencoder,
    out_path: str | os.PathLike[str],
    *,
    memory: int | str | None = None,
    audio_from: str | os.PathLike[str] | None = None,
    codec: Codec | None = None,
    crf: int | None = None,
    allow_other_model: bool = False,
    progress: Progress | None = None,
) -> int:
    """Decode a latent file to a video with the clip's own frame count, size and frame times.

    Args:
        latents_path: What `encode_clip` wrote.
        ae: The autoencoder it was encoded with.
        out_path: The video, its format by the extension; it appears whole or not at all.
        memory: Budget in bytes or as "2GiB"; None takes fixed slabs, and memory does not grow with length either way.
        audio_from: A file whose audio is copied along, from where the encoded part begins: the clip itself, usually.
        codec, crf: As for `VideoWriter`.
        allow_other_model: Decode though the latents were made by an autoencoder of another fingerprint.
        progress: Called after each slab.

    Returns:
        The number of frames written.

    Raises:
        LatentFileError: The latents cannot be read, or are of another autoencoder.
        VideoError: The video cannot be written.
        BudgetTooSmall: No slab fits.
    """
    with LatentClip(latents_path) as clip:
        if not allow_other_model:
            check_fingerprint(clip, ae)
        total = clip.meta.num_frames
        plan = slab_plan(ae, "decode", clip.meta.size, memory)
        start, constant = clip.times(0, 1)[0], has_constant_rate(clip)
        with VideoWriter(
            out_path, fps=clip.meta.fps, codec=codec, crf=crf, audio_from=audio_from, audio_start=start
        ) as writer:
            for frames in decoded(clip, ae, plan):
                first = writer.num_frames
                shown = [time - start for time in clip.times(first, first + frames.shape[2])]
                writer.write(frames, pts_seconds=None if constant else shown)
                if progress:
                    progress(writer.num_frames, total)
    return total


def has_constant_rate(clip: LatentClip) -> bool:
    """Whether the frames come at `meta.fps`, but for the rounding of containers that keep whole milliseconds.

    Written with times of its own, such a clip would come out at 29.998 instead of 30 frames per second.
    """
    fps, total = clip.meta.fps, clip.meta.num_frames
    start, slack = clip.times(0, 1)[0], min(_ROUNDING_SECONDS, 1 / (4 * fps))
    for first in range(0, total, _TIMES_AT_ONCE):
        times = clip.times(first, min(first + _TIMES_AT_ONCE, total))
        if any(abs(time - start - (first + index) / fps) > slack for index, time in enumerate(times)):
            return False
    return True


def check_fingerprint(clip: LatentClip, ae: Autoencoder) -> None:
    """Refuse an autoencoder that did not make these latents. Raises `LatentFileError` naming both fingerprints."""
    if clip.meta.fingerprint != ae.fingerprint:
        raise LatentFileError(
            f"{Path(clip.path).name} was encoded by {clip.meta.model}, fingerprint {clip.meta.fingerprint}; "
            f"this autoencoder ({ae.family}) has {ae.fingerprint}: decode with the one that encoded it"
        )


def decoded(clip: LatentClip, ae: Autoencoder, plan: Plan) -> Iterator[Tensor]:
    """Frames (1, 3, T, H, W) in [-1, 1] as they are complete, no more of them than the clip has."""
    stream = ae.stream_decoder(plan=plan, size=clip.meta.size)
    starts = range(0, len(clip), plan.chunk)
    runs = (clip.read(start, min(start + plan.chunk, len(clip)))[:, : ae.latent_spec.channels] for start in starts)
    yield from stream.frames((run.transpose(0, 1).unsqueeze(0) for run in runs), clip.meta.num_frames)
