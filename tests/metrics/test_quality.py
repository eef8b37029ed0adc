"""PSNR and SSIM against their definitions, and accumulators against whole clips."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.metrics import (
    MSSSIM,
    PSNR,
    SSIM,
    bands,
    flicker,
    frame_ms_ssim,
    frame_psnr,
    frame_ssim,
    ms_ssim,
    psnr,
    ssim,
    warped_error,
)


def clips(frames: int = 5, *, noise: float = 0.1, size: tuple[int, int] = (24, 31)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    want = torch.rand(2, 3, frames, *size, generator=generator) * 2 - 1
    return (want + noise * torch.randn(want.shape, generator=generator)).clamp(-1, 1), want


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """scikit-image's definition for one channel, from the weights as a plain 2-D sum at every pixel; black at 0."""
    x, y = x + 1, y + 1
    offsets = np.arange(-5, 6)
    weights = np.exp(-0.5 * (offsets / 1.5) ** 2)
    weights /= weights.sum()
    window = np.outer(weights, weights)

    def mean(signal: np.ndarray) -> np.ndarray:
        return np.einsum("hwij,ij->hw", np.lib.stride_tricks.sliding_window_view(signal, (11, 11)), window)

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    values = ((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(values.mean())


def test_ssim_is_the_definition() -> None:
    got, want = clips()
    expected = [
        [np.mean([reference_ssim(got[b, c, t].double().numpy(), want[b, c, t].double().numpy()) for c in range(3)])
         for t in range(5)]
        for b in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(frame_ssim(got, want), torch.tensor(expected), rtol=0, atol=2e-6)
    assert ssim(got, want) == pytest.approx(np.mean(expected), abs=2e-6)


def test_the_finest_scale_of_ms_ssim_is_ssim() -> None:
    got, want = clips(2, size=(176, 181))
    both = MSSSIM()
    torch.testing.assert_close(both.update(got, want), frame_ms_ssim(got, want), rtol=0, atol=0)
    assert both.finest() == pytest.approx(ssim(got, want), abs=1e-9)
    assert both.finest() != pytest.approx(both.compute(), abs=1e-3)
    with pytest.raises(InputError, match="176x176"):  # 175 rows leave ten at the coarsest scale: no window fits
        ms_ssim(got[..., :175, :], want[..., :175, :])


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim, flicker, warped_error])
def test_bands_of_rows_measure_what_the_whole_picture_does(
    measure: Callable[[Tensor, Tensor], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    got, want = clips(2, size=(189, 176))
    monkeypatch.setattr(bands, "_BAND_VALUES", 2**30)
    assert list(bands.bands(189, 1000)) == [slice(0, 189)]
    whole = measure(got, want)
    monkeypatch.setattr(bands, "_BAND_VALUES", 0)  # bands of 16 rows, and 13 at the end
    assert [band.stop - band.start for band in bands.bands(189, 1000)] == [16] * 11 + [13]
    assert measure(got, want) == pytest.approx(whole, rel=1e-6)


def test_equal_clips() -> None:
    _, want = clips()
    assert ssim(want, want) == pytest.approx(1.0, abs=1e-7)
    assert psnr(want, want) > 200


def test_psnr_of_a_known_error() -> None:
    _, want = clips()
    expected = 10 * math.log10(4 / 0.01)
    assert psnr(want + 0.1, want) == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(frame_psnr(want + 0.1, want), torch.full((2, 5), expected).double(), rtol=0, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 4), max_size=4))
def test_slabs_measure_what_the_whole_does(cuts: list[int]) -> None:
    got, want = clips()
    signal, structure = PSNR(), SSIM()
    edges = [0, *sorted(set(cuts)), 5]
    frames = []
    for a, b in pairwise(edges):
        frames.append(signal.update(got[:, :, a:b], want[:, :, a:b]))
        structure.update(got[:, :, a:b], want[:, :, a:b])
    assert signal.compute() == pytest.approx(psnr(got, want), abs=1e-9)
    assert signal.mean_over_frames() == pytest.approx(float(frame_psnr(got, want).mean()), abs=1e-9)
    assert structure.compute() == pytest.approx(ssim(got, want), abs=1e-9)
    torch.testing.assert_close(torch.cat(frames, 1), frame_psnr(got, want))


def test_what_cannot_be_measured() -> None:
    got, want = clips()
    with pytest.raises(InputError, match="one shape"):
        ssim(got, want[..., 1:])
    with pytest.raises(InputError, match="11x11"):
        ssim(got[..., :10], want[..., :10])
    for accumulator in (PSNR(), SSIM()):
        with pytest.raises(InputError, match="nothing was measured"):
            accumulator.compute()
