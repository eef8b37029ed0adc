"""Small datasets for the tests of the store."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.latents import ClipMeta, ClipSource, DatasetSettings, DatasetWriter, LatentDataset, content_key

SPEC = {"channels": 3, "stride": (4, 8, 8), "first_frame": "single", "mean": (0.1, -0.2, 0.3), "std": (1.0, 2.0, 0.5)}
SIZE = (33, 50)  # latents of 5 x 7


def settings(**changes: object) -> DatasetSettings:
    values = {"fingerprint": "0123abcd", "model": "a-model", "latent_spec": SPEC, "recipe": {"size": [33, 50]}}
    return DatasetSettings(**{**values, **changes})  # type: ignore[arg-type]


def key(number: int) -> str:
    return content_key(f"{number:064d}", Fraction(number), None)


def latents(number: int, frames: int = 7, *, channels: int = 3) -> Tensor:
    return torch.randn(frames, channels, 5, 7, generator=torch.Generator().manual_seed(number)) + number


def meta(number: int, frames: int = 7) -> ClipMeta:
    num_frames = 1 + 4 * (frames - 1)
    return ClipMeta(
        num_frames=num_frames,
        size=SIZE,
        fps=Fraction(30000, 1001),
        pts_seconds=[Fraction(1001 * k, 30000) for k in range(num_frames)],
        source=ClipSource(uri=f"/a/{number}.mp4", sha256="f" * 64, start_seconds=Fraction(1, 3), size=SIZE),
        caption=f"clip {number}",
        columns={"score": number / 4, "tags": ["a", None]},
    )


def frames_of(number: int) -> int:
    return (7, 3, 12)[number % 3]


def write(directory: Path | str, numbers: Iterable[int], *, worker: str = "w0", **options: object) -> None:
    """Clips of three lengths, the longest in three segments."""
    chosen = options.pop("settings", None) or settings()
    assert isinstance(chosen, DatasetSettings)
    values = {"segment_frames": 5, "shard_bytes": 20_000, "worker": worker, **options}
    with DatasetWriter(directory, chosen, **values) as writer:  # type: ignore[arg-type]
        for number in numbers:
            count = frames_of(number)
            values_ = latents(number, count, channels=chosen.stored_channels)
            assert writer.add(key(number), values_, meta(number, count))


def contents(directory: Path | str) -> dict[str, tuple[Tensor, ClipMeta]]:
    """Every clip by its key."""
    dataset = LatentDataset(directory)
    return {dataset.key(i): (dataset[i]["latents"], dataset.meta(i)) for i in range(len(dataset))}


def assert_same(one: Path | str, other: Path | str) -> None:
    """The same clips with the same latents, the same descriptions and the same statistics, in whichever shards."""
    mine, its = contents(one), contents(other)
    assert list(mine) == list(its)
    for name, (values, description) in mine.items():
        assert torch.equal(values, its[name][0])
        assert description == its[name][1]
    a, b = LatentDataset(one).stats, LatentDataset(other).stats
    assert a.count == b.count
    torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(a.covariance, b.covariance, rtol=1e-10, atol=1e-12)
