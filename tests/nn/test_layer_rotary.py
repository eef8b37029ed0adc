"""Heads that are turned by their place, against complex numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, random_like, randomise, seeds
from torch import Tensor

from vidlatent.nn.rotary import RotatedHeads


def by_definition(module: RotatedHeads, x: Tensor) -> Tensor:
    parts = torch.einsum("bcthw,oc->bthwo", x, module.to_qkv.weight) + module.to_qkv.bias
    queries, keys, values = (part.unflatten(-1, (-1, module.head_dim)) for part in parts.chunk(3, -1))
    answers = []
    for part, weight in ((queries, module.norm_q), (keys, module.norm_k)):
        normed = part / (part.square().mean(-1, keepdim=True) + module.eps).sqrt() * weight
        pairs, start, turned = torch.view_as_complex(normed.unflatten(-1, (-1, 2)).double().contiguous()), 0, []
        for axis, dims in enumerate(module.dims):
            rates = torch.tensor([10000.0 ** (-2 * i / dims) for i in range(dims // 2)], dtype=torch.double).float()
            places = torch.arange(x.shape[2 + axis], dtype=torch.double)
            shape = [len(places) if a == axis else 1 for a in range(3)]
            angles = torch.outer(places, rates.double()).view(*shape, 1, dims // 2)
            turned.append(pairs[..., start : start + dims // 2] * torch.polar(torch.ones_like(angles), angles))
            start += dims // 2
        answers.append(torch.view_as_real(torch.cat(turned, -1)).flatten(-3).to(x.dtype))
    return torch.cat([*answers, values.flatten(-2)], -1).permute(0, 4, 1, 2, 3)


@torch.no_grad()
@examples(25)
@given(data=st.data(), x=clips(channels=32, t=6, h=5, w=3), dim=st.sampled_from([8, 16, 32]), seed=seeds)
def test_pairs_turn_by_frame_row_and_column(data, x: Tensor, dim: int, seed: int) -> None:
    module = randomise(RotatedHeads(32, dim), seed, x.dtype)
    assert_close(module(x), by_definition(module, x))
    assert_sweeps(data, module, x)


@pytest.mark.parametrize(("dim", "dims"), [(64, (16, 24, 24)), (32, (8, 12, 12)), (16, (4, 6, 6)), (8, (0, 4, 4))])
def test_a_quarter_turns_by_the_frame(dim: int, dims: tuple[int, int, int]) -> None:
    assert RotatedHeads(64, dim).dims == dims


@torch.no_grad()
def test_scores_see_how_far_apart_places_are_and_no_more() -> None:
    module = randomise(RotatedHeads(16, 16), 0)
    x = random_like(torch.empty(1, 16, 1, 1, 1, dtype=torch.double), 0).expand(-1, -1, 6, 5, 4)
    queries, keys, _ = module(x)[0].chunk(3)
    score = (queries[:, 0, 0, 0] * keys[:, 2, 1, 3]).sum()
    torch.testing.assert_close((queries[:, 3, 2, 0] * keys[:, 5, 3, 3]).sum(), score, rtol=1e-6, atol=1e-6)
    assert (queries[:, 0, 0, 0] * keys[:, 3, 1, 3]).sum().sub(score).abs() > 1e-3


@torch.no_grad()
def test_half_precision_turns_in_single() -> None:
    module, x = randomise(RotatedHeads(16, 16), 0, torch.float), torch.randn(1, 16, 2, 300, 2)
    error = (module.bfloat16()(x.bfloat16()).float() - module.float()(x)).abs().max()
    assert error < 0.2  # angles of row 299 in bfloat16 would be off by whole turns


def test_heads_that_do_not_divide_are_refused() -> None:
    for channels, dim in ((24, 16), (12, 12)):
        with pytest.raises(ValueError, match="do not divide into heads"):
            RotatedHeads(channels, dim)
