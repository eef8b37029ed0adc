"""One clip to one latent file: read, encode and write slab by slab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.posterior import LOGVAR_RANGE
from vidlatent.encode.slabs import Progress, expected_frames, slab_plan
from vidlatent.io import Clip, VideoSource, open_video, to_float
from vidlatent.io.rates import as_fps
from vidlatent.latents import ClipSource, LatentMeta, LatentWriter, content_hash
from vidlatent.latents.meta import StoredType
from vidlatent.streaming import Plan

Seconds = int | float | Fraction


@dataclass(frozen=True)
class Window:
    """The part of a clip that is encoded, and what its frames are brought to; None is the clip's own.

    Seconds are half-open. `size` is (H, W), cropped to keep the aspect, or one number for the shorter side.
    """

    start: Seconds | None = None
    stop: Seconds | None = None
    size: int | tuple[int, int] | None = None
    fps: Seconds | None = None

    def open(self, path: str | os.PathLike[str], *, chunk_frames: int) -> VideoSource:
        """Open this part of a file as clips of `chunk_frames`."""
        start, stop, fps = exact(self.start), exact(self.stop), self.fps
        return open_video(path, start=start, stop=stop, size=self.size, fps=fps, chunk_frames=chunk_frames)


def exact(seconds: Seconds | None) -> Fraction | None:
    """The decimal that was meant: 0.1 is 1/10, not the binary fraction next to it."""
    return None if seconds is None else Fraction(str(seconds) if isinstance(seconds, float) else seconds)


def encode_clip(
    source: str | os.PathLike[str],
    ae: Autoencoder,
    out_path: str | os.PathLike[str],
    *,
    memory: int | str | None = None,
    start: Seconds | None = None,
    stop: Seconds | None = None,
    size: int | tuple[int, int] | None = None,
    fps: Seconds | None = None,
    dtype: StoredType = "float16",
    keep_logvar: bool = False,
    model_name: str | None = None,
    progress: Progress | None = None,
) -> LatentMeta:
    """Encode a video file, or a part of it, to a latent file that appears whole or not at all.

    Args:
        source: The video.
        ae: The autoencoder.
        out_path: The latent file; an existing one is replaced at the end.
        memory: Budget in bytes or as "2GiB"; None takes fixed slabs, and memory does not grow with length either way.
        start, stop: Seconds, half-open.
        size: (H, W), cropped to keep the aspect, or one number for the shorter side.
        fps: Constant rate to show the clip at; None keeps its own frames and times.
        dtype: Type of the stored numbers.
        keep_logvar: Store the log-variance too, where the autoencoder has one.
        model_name: What to load the autoencoder by again; its family where None.
        progress: Called after each slab.

    Returns:
        What was written about the clip, its frame count and checksum among it.

    Raises:
        VideoError: The video cannot be read, or is damaged.
        LatentFileError: The latent file cannot be written.
        BudgetTooSmall: No slab fits.
    """
    window = Window(start, stop, size, fps)
    plan, meta = look_at(source, ae, window, memory=memory, dtype=dtype, keep_logvar=keep_logvar, name=model_name)
    with window.open(source, chunk_frames=plan.chunk) as video, LatentWriter(out_path, meta=meta) as writer:
        expected = expected_frames(video.spec, meta.source)
        for clip, latents in encoded(video, ae, plan, keep_logvar=keep_logvar):
            writer.append(latents, pts_seconds=clip.pts_seconds if clip else ())
            if clip and progress:
                progress(writer.num_frames, expected)
        check_count(writer, ae)
    return writer.meta


def look_at(
    source: str | os.PathLike[str],
    ae: Autoencoder,
    window: Window,
    *,
    memory: int | str | None,
    dtype: StoredType,
    keep_logvar: bool,
    name: str | None,
) -> tuple[Plan, LatentMeta]:
    """How a clip is to be cut, and what travels with its latents."""
    with window.open(source, chunk_frames=1) as video:
        frame_size, own_fps = (video.height, video.width), video.spec.fps
    origin = ClipSource(
        uri=os.fspath(Path(source).absolute()),
        sha256=content_hash(source),
        start_seconds=exact(window.start),
        stop_seconds=exact(window.stop),
        fps=None if window.fps is None else as_fps(window.fps),
        size=None if window.size is None else frame_size,
    )
    meta = LatentMeta(
        model=name or ae.family,
        fingerprint=ae.fingerprint,
        latent_spec=asdict(ae.latent_spec),
        size=frame_size,
        fps=origin.fps or own_fps,
        source=origin,
        kind="moments" if keep_logvar and ae.has_logvar else "mean",
        dtype=dtype,
    )
    return slab_plan(ae, "encode", frame_size, memory), meta


def encoded(
    video: VideoSource, ae: Autoencoder, plan: Plan, *, keep_logvar: bool = False
) -> Iterator[tuple[Clip | None, Tensor]]:
    """Each slab of frames with the latents (1, C, t, h, w) it completed, t maybe 0; at the end None and the rest,
    piece by piece.

    C is doubled by the log-variance with `keep_logvar`, where there is one.
    """
    stream = ae.stream_encoder(plan=plan)
    for clip in video:
        yield clip, _stored(stream.push(to_float(clip.frames)), ae, keep_logvar)
    for moments in stream.drain():
        yield None, _stored(moments, ae, keep_logvar)


def _stored(moments: Tensor, ae: Autoencoder, keep_logvar: bool) -> Tensor:
    channels = ae.latent_spec.channels
    if not (keep_logvar and ae.has_logvar):
        return moments[:, :channels]
    return torch.cat([moments[:, :channels], moments[:, channels:].clamp(*LOGVAR_RANGE)], 1)


def check_count(writer: LatentWriter, ae: Autoencoder) -> None:
    """Hold latents against the frames they are of: a file that lost some must never be committed."""
    expected = ae.latent_spec.num_latent_frames(writer.num_frames)
    assert writer.num_latent_frames == expected, (writer.num_frames, writer.num_latent_frames, expected)
