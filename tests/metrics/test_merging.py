"""Every accumulator gives the one-shot result for any partition, any workers and any order of merging."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidlatent import metrics
from vidlatent.errors import InputError
from vidlatent.metrics import Accumulator

FRAMES = 6


def clip_pair(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    want = torch.rand(1, 3, FRAMES, 36, 34, generator=generator) * 2 - 1
    return (want + 0.2 * torch.randn(want.shape, generator=generator)).clamp(-1, 1), want


class CodesOfClips(metrics.CodeEntropy):
    """Clips as codes, so that one test serves all."""

    def __init__(self) -> None:
        super().__init__(-128, 127, 3)

    def update(self, got: Tensor, want: Tensor) -> None:  # type: ignore[override]
        super().update(metrics.int8_codes(got, torch.zeros(3), torch.ones(3)))


class FirstOnly:
    """Measures of one signal, fed with the reconstruction."""

    def update(self, got: Tensor, want: Tensor) -> None:
        super().update(got)  # type: ignore[misc]


class Statistics(FirstOnly, metrics.LatentStatistics):
    def __init__(self) -> None:
        super().__init__(3)

    def compute(self) -> list[float]:  # type: ignore[override]
        return [number for v in super().compute().values() for number in (v if isinstance(v, list) else [v])]


MAKERS: dict[str, Callable[[], Accumulator]] = {
    "psnr": metrics.PSNR,
    "ssim": metrics.SSIM,
    "distance": metrics.LPIPS,
    "flicker": metrics.Flicker,
    "warped": metrics.WarpedError,
    "group": lambda: metrics.GroupPSNR(4),
    "seams": lambda: metrics.Seams((2, 8, 8)),
    "codes": CodesOfClips,
    "statistics": Statistics,
}
ORDERED = (metrics.Flicker, metrics.WarpedError, metrics.GroupPSNR, metrics.Seams)


def feed(measure: Accumulator, clip: int, start: int, stop: int) -> None:
    got, want = (video[:, :, start:stop] for video in clip_pair(clip))
    where = {"clip": clip, "start": start} if isinstance(measure, ORDERED) else {}
    measure.update(got, want, **where)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_partition_and_merge_order(name: str, data: st.DataObject) -> None:
    once = MAKERS[name]()
    pieces = []
    for clip in range(2):
        feed(once, clip, 0, FRAMES)
        cuts = data.draw(st.sets(st.integers(1, FRAMES - 1)))
        pieces += [(clip, a, b) for a, b in pairwise([0, *sorted(cuts), FRAMES])]
    workers = [MAKERS[name]() for _ in range(3)]
    for piece in data.draw(st.permutations(pieces)):
        feed(data.draw(st.sampled_from(workers)), *piece)
    first, *others = data.draw(st.permutations(workers))
    for other in others:
        first.merge(other)
    assert first.compute() == pytest.approx(once.compute(), rel=1e-9, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_distances_between_sets_merge(order: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(2, 4, 3, 16, 16, 16, generator=generator)
    for distance in ("frechet", "kernel"):
        once = metrics.FVD(metrics.RandomFeatures(), distance)
        once.update(clips[0], clips[1])
        total = metrics.FVD(metrics.RandomFeatures(), distance)
        for index in order:
            part = metrics.FVD(metrics.RandomFeatures(), distance)
            part.update(clips[0, index : index + 1], clips[1, index : index + 1])
            total.merge(part)
        assert total.compute() == pytest.approx(once.compute(), rel=1e-6, abs=1e-9)


def test_only_measures_of_one_kind_merge() -> None:
    for a, b in (
        (metrics.PSNR(), metrics.SSIM()),
        (metrics.GroupPSNR(4), metrics.GroupPSNR(8)),
        (metrics.Seams((2, None, None)), metrics.Seams((None, 2, None))),
    ):
        with pytest.raises(InputError, match="one kind"):
            a.merge(b)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [metrics.PSNR, metrics.SSIM, metrics.Flicker, metrics.LPIPS])
def test_nan_is_refused_and_nothing_has_no_result(make: Callable[[], Accumulator]) -> None:
    got, want = clip_pair(0)
    measure = make()
    with pytest.raises(InputError, match="nothing was measured"):
        measure.compute()
    got[0, 0, 2, 3, 3] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        measure.update(got, want)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="nothing was measured"):
        measure.compute()
