"""Linear attention is quadratic attention with another order of products, and sweeps with sums alone."""

import pytest
import torch

from vidlatent.nn.linear_attention import LinearAttention
from vidlatent.testing import assert_streams_exactly
from vidlatent.testing.streams import ALL_AXES


def by_scores(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Frame by frame with a score for each pair of positions, normalised over the keys."""
    frames = []
    for frame in x.unbind(2):
        heads = frame.flatten(2).unflatten(1, (-1, 3, head_dim))
        q, k, v = heads[:, :, 0].relu(), heads[:, :, 1].relu(), heads[:, :, 2]
        scores = torch.einsum("bndi,bndj->bnij", q, k)
        weights = scores / (scores.sum(-1, keepdim=True) + 1e-15)
        frames.append(torch.einsum("bnij,bndj->bndi", weights, v).flatten(1, 2).unflatten(-1, x.shape[3:]))
    return torch.stack(frames, 2)


@torch.no_grad()
def test_it_is_attention_by_scores() -> None:
    x = torch.randn(2, 2 * 3 * 4, 3, 5, 4, dtype=torch.double)
    torch.testing.assert_close(LinearAttention(4)(x), by_scores(x, 4))


@torch.no_grad()
def test_a_frame_that_asks_or_says_nothing_gives_nothing() -> None:
    x = torch.randn(1, 12, 1, 3, 3)
    x[:, :4] = -1.0
    assert not LinearAttention(4)(x).any()


@torch.no_grad()
def test_half_precision_is_summed_in_full() -> None:
    x = torch.randn(1, 24, 1, 40, 40).bfloat16()
    out = LinearAttention(4)(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, LinearAttention(4)(x.float()).bfloat16())


@pytest.mark.parametrize("axes", ALL_AXES)
def test_it_streams_exactly(axes: tuple[int, ...]) -> None:
    assert_streams_exactly(LinearAttention(4), torch.randn(2, 24, 4, 9, 3, dtype=torch.double), [axes], partitions=5)
