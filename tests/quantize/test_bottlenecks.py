"""Every bottleneck: one interface, codes one to one with latents, exact sweeps, gradients, rate."""

import math

import pytest
import torch

from vidlatent.errors import InputError, ModelError
from vidlatent.quantize import Bottleneck, BottleneckConfig, build, usage
from vidlatent.testing import assert_streams_exactly

DISCRETE = {
    "vq": BottleneckConfig("vq", channels=4, size=32),
    "vq-gradient": BottleneckConfig("vq", channels=4, size=32, decay=0),
    "residual-vq": BottleneckConfig("residual-vq", channels=4, size=16, depth=3),
    "hierarchical-vq": BottleneckConfig("hierarchical-vq", channels=3, size=16, depth=2),
    "hierarchical-vq-3": BottleneckConfig("hierarchical-vq", channels=2, size=16, depth=3),
    "fsq": BottleneckConfig("fsq", channels=4, levels=(8, 5, 3, 2)),
    "lfq": BottleneckConfig("lfq", channels=11),
    "bsq": BottleneckConfig("bsq", channels=6),
}
CONTINUOUS = {"none": BottleneckConfig("none", channels=4), "kl": BottleneckConfig("kl", channels=4)}
ALL = DISCRETE | CONTINUOUS


def made(name: str) -> Bottleneck:
    torch.manual_seed(0)
    return build(ALL[name], width=6).eval()


def features(bottleneck: Bottleneck, *grid: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, bottleneck.in_channels, *grid, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", DISCRETE)
def test_latents_and_codes_stand_for_each_other(name: str) -> None:
    bottleneck = made(name)
    latents = bottleneck(features(bottleneck, 3, 8, 4))
    codes = bottleneck.codes(latents)
    assert all(int(c.max()) < size for c, size in zip(codes, bottleneck.sizes, strict=True))
    assert all(c.dtype == torch.int64 for c in codes)
    torch.testing.assert_close(bottleneck.from_codes(codes), latents, rtol=0, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(bottleneck.codes(bottleneck.from_codes(codes)), codes, strict=True))


@pytest.mark.parametrize("name", DISCRETE)
def test_training_sees_the_latents_of_inference(name: str) -> None:
    bottleneck = made(name)
    x = features(bottleneck, 2, 4, 8)
    bottled, latents = bottleneck.bottle(x), bottleneck(x)
    torch.testing.assert_close(bottled.latents, latents)
    assert all(torch.equal(a, b) for a, b in zip(bottled.codes, bottleneck.codes(latents), strict=True))


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_the_features_and_every_term_is_finite(name: str) -> None:
    bottleneck = made(name).train()
    x = features(bottleneck, 2, 4, 4).requires_grad_()
    bottled = bottleneck.bottle(x)
    (bottled.latents.square().sum() + sum(bottled.losses.values(), torch.zeros(()))).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any((0, 2, 3, 4)).all()


@pytest.mark.parametrize("name", ALL)
def test_sweeps_equal_the_whole(name: str) -> None:
    bottleneck = made(name).double()
    scale = bottleneck.out_factors
    grid = (3 * scale[0], 3 * scale[1], 2 * scale[2])
    assert_streams_exactly(bottleneck, features(bottleneck, *grid, batch=1).double(), partitions=4)
    opening = bottleneck.opening()
    latents = torch.randn(1, bottleneck.channels, 4, 3, 2, dtype=torch.double)
    assert_streams_exactly(opening, latents, partitions=4)
    out = opening(latents)
    assert out.shape == (1, bottleneck.out_channels, 4 * scale[0], 3 * scale[1], 2 * scale[2])


@pytest.mark.parametrize("name", DISCRETE)
def test_the_rate_is_what_the_codes_take(name: str) -> None:
    bottleneck = made(name)
    latents = bottleneck(features(bottleneck, 4, 8, 8))
    taken = sum(
        c.numel() * math.log2(size) for c, size in zip(bottleneck.codes(latents), bottleneck.sizes, strict=True)
    )
    assert bottleneck.bits == pytest.approx(taken / latents[:, 0].numel())


def test_a_coarse_code_changes_what_the_fine_one_describes() -> None:
    bottleneck = made("hierarchical-vq")
    x = features(bottleneck, 1, 4, 4)
    before = bottleneck.codes(bottleneck(x))[1]
    coarse = bottleneck._parts[1]
    coarse.embedding.data.mul_(-30)
    assert not torch.equal(bottleneck.codes(bottleneck(x))[1], before)


def test_wrong_codes_are_refused() -> None:
    bottleneck = made("vq")
    with pytest.raises(InputError, match="allowed are 0 to 31"):
        bottleneck.from_codes([torch.full((1, 1, 2, 2), 32)])
    with pytest.raises(InputError, match="expected 1 tensors"):
        bottleneck.from_codes([])
    with pytest.raises(InputError, match="integers"):
        bottleneck.from_codes([torch.zeros(1, 1, 2, 2)])
    with pytest.raises(InputError, match="continuous"):
        made("kl").codes(torch.zeros(1, 4, 1, 1, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "fsq", "channels": 3, "levels": (8, 8)}, "one level"),
        ({"kind": "vq", "levels": (8,)}, "are for fsq"),
        ({"kind": "residual-vq", "depth": 1}, "depth of at least 2"),
        ({"kind": "lfq", "channels": 63}, "at most 62"),
        ({"kind": "vq", "decay": 1.0}, "decay"),
        ({"kind": "vq", "size": 0}, "at least 1"),
    ],
)
def test_contradicting_configurations_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        BottleneckConfig(**values)


def test_usage_counts_what_occurs() -> None:
    even, one = torch.arange(8).view(1, 2, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.long)
    all_used, one_used = usage([even, one], [8, 8])
    assert (all_used.share, all_used.perplexity) == pytest.approx((1.0, 8.0))
    assert (one_used.share, one_used.perplexity) == pytest.approx((0.125, 1.0))
