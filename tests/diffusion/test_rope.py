"""Rotary positions: relative, real-valued, without end."""

import math

import pytest
import torch
from diffusion_helpers import latents

from vidlatent.diffusion import Rope, riflex
from vidlatent.diffusion.rope import rotate
from vidlatent.errors import InputError


def scores(times: torch.Tensor) -> torch.Tensor:
    """Products of one query and one key at each pair of places."""
    rope, x = Rope(12), latents(1, 1, 1, 1, 12)
    turned = rotate(x.expand(1, len(times), 6, 1, 12), rope.turns(times, (2, 3), dtype=torch.float64))
    return torch.einsum("btnhd,bsmhd->tnsm", turned, turned)


def test_scores_depend_on_distances_alone() -> None:
    here, far = scores(torch.arange(4)), scores(torch.arange(4) + 12345.25)
    torch.testing.assert_close(here, far, rtol=0, atol=1e-9)
    torch.testing.assert_close(here[0, :, 1], here[2, :, 3], rtol=0, atol=1e-12)
    torch.testing.assert_close(here[:, 0, :, 1], here[:, 4, :, 5], rtol=0, atol=1e-12)  # one column apart, in two rows


def test_every_axis_turns_its_own_pairs() -> None:
    rope = Rope(32)
    assert rope.pairs == (6, 5, 5)
    cos, _ = rope.turns(torch.tensor([0.0, 3.0]), (2, 2), registers=1, dtype=torch.float32)
    assert cos.shape == (1, 2, 5, 16)
    assert torch.equal(cos[0, 0, 1], torch.ones(16))
    assert cos[0, 1, 1, 0].item() == pytest.approx(math.cos(3))


def test_riflex_slows_the_frequency_that_repeats() -> None:
    """HunyuanVideo's time axis: 8 frequencies of base 256; the fourth has a period of 2 pi 8 = 50 frames."""
    rope = Rope(48, 256.0)
    assert rope.pairs[0] == 8
    before, after = rope.frequencies(0), riflex(rope, repeats_after=48, length=96).frequencies(0)
    assert [j for j in range(8) if before[j] != after[j]] == [3]
    assert after[3] == pytest.approx(0.9 * 2 * math.pi / 96)


def test_heads_too_narrow_for_three_axes_are_refused() -> None:
    with pytest.raises(InputError, match="head_dim=4"):
        Rope(4)
