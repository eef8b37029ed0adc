"""Turning heads by their place, against complex numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, examples, random_like, seeds
from torch import Tensor

from vidlatent.nn.rotary import dims_of_axes, rotations, turn

PLACES = st.lists(st.integers(0, 2000), min_size=1, max_size=4)


def by_definition(heads: Tensor, places: list[list[int]]) -> Tensor:
    """Heads `(T, H, W, heads, head_dim)`, a pair at a time."""
    pairs, start, turned = torch.view_as_complex(heads.unflatten(-1, (-1, 2)).contiguous()), 0, []
    for axis, dims in enumerate(dims_of_axes(heads.shape[-1])):
        for pair in range(dims // 2):
            rate = float(torch.tensor(1 / 10000.0 ** (2 * pair / dims), dtype=torch.double).float())
            angles = torch.tensor([place * rate for place in places[axis]], dtype=torch.double)
            spread = [len(angles) if a == axis else 1 for a in range(3)]
            turned.append(pairs[..., start + pair] * torch.polar(torch.ones_like(angles), angles).view(*spread, 1))
        start += dims // 2
    return torch.view_as_real(torch.stack(turned, -1)).flatten(-2)


@examples(40)
@given(places=st.tuples(PLACES, PLACES, PLACES), dim=st.sampled_from([8, 16, 32, 64]), seed=seeds)
def test_pairs_turn_by_frame_row_and_column(places, dim: int, seed: int) -> None:
    heads = random_like(torch.empty(*map(len, places), 2, dim, dtype=torch.double), seed)
    turns = rotations([torch.tensor(along) for along in places], dim, torch.double)
    assert_close(turn(heads, turns), by_definition(heads, places))


@pytest.mark.parametrize(("dim", "dims"), [(64, (16, 24, 24)), (32, (8, 12, 12)), (16, (4, 6, 6)), (8, (0, 4, 4))])
def test_a_quarter_turns_by_the_frame(dim: int, dims: tuple[int, int, int]) -> None:
    assert dims_of_axes(dim) == dims


def test_scores_see_how_far_apart_places_are_and_no_more() -> None:
    query, key = random_like(torch.empty(2, 1, 1, 1, 1, 16, dtype=torch.double), 0)

    def score(*places: tuple[int, int, int]) -> float:
        there = [rotations([torch.tensor([n]) for n in place], 16, torch.double) for place in places]
        return float((turn(query, there[0]) * turn(key, there[1])).sum())

    want = score((0, 0, 0), (2, 1, 3))
    assert score((300, 20, 5), (302, 21, 8)) == pytest.approx(want, abs=1e-9)
    assert abs(score((0, 0, 0), (3, 1, 3)) - want) > 1e-3


def test_half_precision_turns_in_single() -> None:
    """Angles in bfloat16 would be off by whole turns this far."""
    heads, places = torch.randn(1, 1, 1, 2, 16), [torch.tensor([n]) for n in (999, 301, 517)]
    turns = rotations(places, 16, torch.bfloat16)
    assert turns[0].dtype == torch.float32
    got = turn(heads.bfloat16(), turns)
    assert got.dtype == torch.bfloat16
    assert (got.float() - turn(heads, rotations(places, 16, torch.float32))).abs().max() < 0.05


def test_counting_has_the_same_shapes() -> None:
    places = [torch.arange(n) for n in (2, 3, 4)]
    real = rotations(places, 16, torch.float16)
    counted = rotations([along.to("meta") for along in places], 16, torch.float16)
    assert [(c.shape, c.dtype) for c in counted] == [(r.shape, r.dtype) for r in real]
