"""What jobs need in memory, once a process: models, linear codes, extractors, the motion of the clip at hand."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vidlatent import metrics
from vidlatent.autoencoders import Autoencoder, load
from vidlatent.errors import InputError
from vidlatent.evaluate.baselines import CODECS, Bicubic, Codec, LinearCode, as_codec
from vidlatent.evaluate.candidate import Candidate, Code, Model
from vidlatent.evaluate.job import Job
from vidlatent.files import write_tensors
from vidlatent.metrics import PatchPCA


@lru_cache(maxsize=2)
def load_distance(net: Any, weights: tuple[str, ...] | None) -> metrics.PerceptualDistance:
    """The perceptual distance, once a process."""
    return metrics.PerceptualDistance(net, weights)


@lru_cache(maxsize=1)
def load_features(name: str, weights: str | None) -> Any:
    """The feature extractor, once a process."""
    return metrics.load_extractor(name, weights)


@lru_cache(maxsize=1)
def motion_of(path: str, protocol: str) -> metrics.Motion:
    """How the clip that is being measured moves, for all of its candidates; `protocol` is the hash of its frames."""
    del path, protocol
    return metrics.Motion()


@lru_cache(maxsize=len(CODECS))
def _tried_of(path: str, protocol: str, codec: str) -> dict[int, Code]:
    """What a codec has written of the clip that is being measured, by quality."""
    del path, protocol, codec
    return {}


def load_candidate(job: Job, size: tuple[int, int]) -> Candidate:
    """The candidate of a job, for frames of `size` (H, W); models and linear codes are loaded once a process."""
    subject = job.subject
    if subject.kind == "model":
        return Model(_autoencoder(subject.origin, job.device), job.memory, size)
    if subject.kind == "pca":
        return _linear_code(subject.origin)
    value = subject.value if subject.value is not None else job.rate
    if value is None:
        raise InputError(f"{subject.name}: {subject.matches} has no result on this clip to match: see its row")
    if subject.kind not in CODECS:
        return Bicubic(value)
    return Codec(as_codec(subject.kind), value, _tried_of(job.path, job.protocol.hash, subject.kind))


@lru_cache(maxsize=2)
def _autoencoder(origin: str, device: str) -> Autoencoder:
    return load(origin, device=device)


@lru_cache(maxsize=2)
def _linear_code(path: str) -> LinearCode:
    tensors = load_file(path)
    patch = [int(side) for side in tensors["patch"]]
    pca = PatchPCA((patch[0], patch[1], patch[2]), tensors["basis"].shape[1])
    pca.mean, pca.basis, pca.scale = tensors["mean"], tensors["basis"], tensors["scale"]
    return LinearCode(pca)


def save_pca(pca: PatchPCA, path: Path) -> None:
    """Write a fitted linear code."""
    patch = torch.tensor(pca.patch)
    write_tensors(path, {"mean": pca.mean, "basis": pca.basis, "scale": pca.scale, "patch": patch}, {})
