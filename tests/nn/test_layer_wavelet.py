"""Haar: by hand, orthonormal, and undone by its inverse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, random_like, seeds
from torch import Tensor

from vidlatent.nn import Chain, Haar, InverseHaar, Trim
from vidlatent.nn.wavelet import haar_matrix
from vidlatent.streaming import T

powers = st.sampled_from([1, 2, 4])
factors = st.tuples(powers, powers, st.sampled_from([1, 2]))


def test_one_level_by_hand() -> None:
    a, b, c, d = 1.0, 4.0, -2.0, 8.0  # a b over c d
    x = torch.tensor([[a, b], [c, d]], dtype=torch.double).view(1, 1, 1, 2, 2)
    bands = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]  # smooth, across, down, diagonal
    assert_close(Haar((1, 2, 2))(x).flatten(), torch.tensor(bands, dtype=torch.double) / 2)
    in_time = Haar((2, 1, 1))(torch.tensor([a, b], dtype=torch.double).view(1, 1, 2, 1, 1))
    assert_close(in_time.flatten(), torch.tensor([a + b, a - b], dtype=torch.double) / 2**0.5)


def test_two_levels_split_the_average_again() -> None:
    half, fine = 0.5, 0.5**0.5
    want = [[half] * 4, [half, half, -half, -half], [fine, -fine, 0, 0], [0, 0, fine, -fine]]
    assert_close(haar_matrix((1, 4, 1)), torch.tensor(want, dtype=torch.double))


def test_channels_come_out_band_by_band() -> None:
    x = random_like(torch.empty(1, 3, 2, 4, 4, dtype=torch.double), 0)
    y, alone = Haar((1, 2, 2))(x), [Haar((1, 2, 2))(x[:, c : c + 1]) for c in range(3)]
    for band in range(4):
        for channel in range(3):
            assert_close(y[:, 3 * band + channel], alone[channel][:, band])
    constant = Haar((2, 2, 2))(torch.ones(1, 3, 2, 2, 2, dtype=torch.double)).flatten()
    assert_close(constant, torch.tensor([8**0.5] * 3 + [0.0] * 21, dtype=torch.double))


@examples(40)
@given(st.data(), clips(channels=2), factors, st.booleans())
def test_haar_sweeps_exactly(data, x: Tensor, factor, single: bool) -> None:
    assert_sweeps(data, Haar(factor, before=factor[0] - 1 if single else 0), x)


@examples(30)
@given(st.data(), clips(channels=32, t=5, h=5), factors)
def test_the_inverse_sweeps_exactly(data, x: Tensor, factor) -> None:
    assert_sweeps(data, InverseHaar(factor), x)


@examples(40)
@given(factors, st.integers(1, 3), seeds, st.booleans())
def test_orthonormal_and_undone_by_the_inverse(factor, blocks: int, seed: int, single: bool) -> None:
    t, h, w = factor
    skip = t - 1 if single else 0  # the first frame a block of its own
    x = random_like(torch.empty(2, 3, blocks * t - skip, 2 * h, 2 * w, dtype=torch.double), seed)
    y = Haar(factor, before=skip)(x)
    assert y.shape == (2, 3 * t * h * w, blocks, 2, 2)
    assert_close(Chain(InverseHaar(factor), Trim(T, before=skip))(y), x)
    if not skip:
        assert y.square().sum().item() == pytest.approx(x.square().sum().item(), rel=1e-12)
    matrix = haar_matrix(factor)
    assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.double))


@pytest.mark.parametrize("size", [3, 6, 12])
def test_only_powers_of_two(size: int) -> None:
    with pytest.raises(ValueError, match=f"power of two, got {size}"):
        Haar((1, size, 1))
