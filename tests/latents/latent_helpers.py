"""Small clips' latents for the tests of the store."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.latents import ClipSource, LatentMeta, LatentWriter

SPEC = {"channels": 3, "stride": (4, 8, 8), "first_frame": "single", "mean": (), "std": ()}


def meta(**changes: object) -> LatentMeta:
    values = {
        "model": "a-model",
        "fingerprint": "0123abcd",
        "latent_spec": SPEC,
        "size": (33, 50),
        "fps": Fraction(30000, 1001),
        "source": ClipSource(uri="/a/clip.mp4", sha256="f" * 64, start_seconds=Fraction(1, 3), size=(33, 50)),
        **changes,
    }
    return LatentMeta(**values)  # type: ignore[arg-type]


def latents(frames: int = 7, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, 3, 5, 7, generator=generator)


def times(frames: int = 25) -> list[Fraction]:
    return [Fraction(1001 * k, 30000) for k in range(frames)]


def write(path: Path, slabs: Iterable[Tensor], seconds: Iterable[list[Fraction]], **changes: object) -> Path:
    with LatentWriter(path, meta=meta(**changes)) as writer:
        for slab in slabs:
            writer.append(slab)
        for part in seconds:
            writer.append(pts_seconds=part)
    return path
