"""Norms with a scale and a shift per channel: by definition, and as torch has it."""

import torch
from sweep_helpers import randomise

from vidlatent.nn.affine_norm import AffinePixelNorm, BatchNorm
from vidlatent.testing import assert_streams_exactly


def clip() -> torch.Tensor:
    return torch.randn(2, 6, 3, 4, 5, dtype=torch.double)


@torch.no_grad()
def test_a_pixel_norm_divides_by_the_root_mean_square() -> None:
    norm, x = randomise(AffinePixelNorm(6, eps=0.1), seed=0), clip()
    want = x / (x.square().mean(1, keepdim=True) + 0.1).sqrt()
    torch.testing.assert_close(norm(x), want * norm.weight.view(-1, 1, 1, 1) + norm.bias.view(-1, 1, 1, 1))


@torch.no_grad()
def test_a_batch_norm_uses_what_it_was_given_and_keeps_it() -> None:
    ours, theirs, x = randomise(BatchNorm(6), seed=0), torch.nn.BatchNorm3d(6).double().eval(), clip()
    ours.running_mean.normal_()
    ours.running_var.uniform_(0.5, 2.0)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    torch.testing.assert_close(ours(x), theirs(x))
    before = ours.running_mean.clone()
    ours.train()(x)
    assert torch.equal(ours.running_mean, before)


def test_both_stream() -> None:
    for module in (AffinePixelNorm(6), BatchNorm(6)):
        assert_streams_exactly(module.double(), clip(), partitions=2)
