"""A job becomes a row, a small file that appears whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch

from vidlatent.errors import InputError, VidlatentError
from vidlatent.evaluate.candidate import Model, Shape
from vidlatent.evaluate.frames import read_frames
from vidlatent.evaluate.job import Job, Row
from vidlatent.evaluate.loaders import load_candidate, load_distance, load_features, motion_of
from vidlatent.evaluate.measure import measure_clip
from vidlatent.evaluate.preview import Preview
from vidlatent.evaluate.probe import latent_probe
from vidlatent.evaluate.windows import Windows
from vidlatent.files import write_tensors, write_text
from vidlatent.io import open_video


def run_job(job: Job) -> Row:
    """Measure and write the row; what goes wrong becomes a row that says so."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    preview = Preview(job.file("media", ".mp4"), job.file("media", ".jpg"), enabled=job.previews)
    try:
        with torch.no_grad(), preview:
            figures = _measured(job, preview)
        wrong = [name for name, value in figures.items() if isinstance(value, float) and not math.isfinite(value)]
        if wrong:
            raise InputError(f"{wrong[0]} is {figures[wrong[0]]}: not a number to average")
    except Exception as error:  # whatever a model or a file does must not take the other rows along
        kind = "" if isinstance(error, VidlatentError) else f"{type(error).__name__}: "
        return failed_row(job, kind + " ".join(str(error).split()))
    return _written(job, {**figures, "worst_frame": preview.worst_frame, "status": "ok"})


def failed_row(job: Job, reason: str) -> Row:
    """The row of a job that nothing came of."""
    return _written(job, {"status": "failed", "reason": reason})


def _written(job: Job, result: Row) -> Row:
    subject = job.subject
    row: Row = {"clip": job.clip, "candidate": subject.name, "kind": subject.kind, "fingerprint": subject.fingerprint}
    row |= {"protocol": job.protocol.hash, "key": job.key, **result}
    write_text(job.file("rows", ".json"), json.dumps(row))
    return row


def _measured(job: Job, preview: Preview) -> Row:
    protocol = job.protocol
    with open_video(job.path) as source:
        fps = Fraction(protocol.fps) if protocol.fps else source.spec.fps
        shape = Shape(protocol.frames, *(protocol.size or (source.spec.height, source.spec.width)))
    candidate = load_candidate(job, (shape.height, shape.width))
    preview.fps = fps
    extractor = load_features(protocol.features, job.features_weights) if protocol.features else None
    windows = Windows(extractor, job.file("features", ".safetensors"), vmaf=protocol.vmaf is not None)

    def read() -> Iterator[torch.Tensor]:
        return read_frames(Path(job.path), protocol)

    def on_pair(got: torch.Tensor, want: torch.Tensor) -> None:
        preview.add(got, want)
        windows.add(got, want)

    distance = load_distance(job.perceptual_net, job.perceptual_weights)
    motion = motion_of(job.path, protocol.hash)
    row, code = measure_clip(candidate, read, shape, distance=distance, on_pair=on_pair, motion=motion)
    if protocol.probe and code.latents is not None:
        row["latent_stride"] = round(shape.width / code.latents.shape[-1])
        write_tensors(job.file("latents", ".safetensors"), {"latents": code.latents}, {})
        if isinstance(candidate, Model):
            row |= latent_probe(candidate.ae, next(read()), code.latents)
    size = {"frames": shape.frames, "height": shape.height, "width": shape.width, "fps": str(fps)}
    return row | windows.finish() | size
