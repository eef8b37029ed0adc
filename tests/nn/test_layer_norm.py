"""Norms against their formulas: per position, per frame, over the clip; the fast path against the definition."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import (
    ORDERS,
    assert_close,
    assert_sweeps,
    clips,
    drive,
    examples,
    random_like,
    randomise,
    seeds,
)
from torch import Tensor

from vidlatent.nn import GroupNorm, LayerNorm, RMSNorm
from vidlatent.streaming import H, Plan, SlabStream, T, run


def rms_norm(norm: RMSNorm, x: Tensor) -> Tensor:
    root = x.square().mean(1, keepdim=True).sqrt().clamp_min(norm.eps / x.shape[1] ** 0.5)
    y = x / root * norm.weight.view(-1, 1, 1, 1) + (0 if norm.bias is None else norm.bias.view(-1, 1, 1, 1))
    return y * torch.sigmoid(y) if norm.silu else y


@examples(40)
@given(st.data(), clips(channels=6), st.booleans(), st.booleans(), seeds)
def test_rms_norm(data, x: Tensor, bias: bool, silu: bool, seed: int) -> None:
    norm = randomise(RMSNorm(6, bias=bias, silu=silu), seed, x.dtype)
    with torch.no_grad():
        fast = norm(x)
    slow = norm(x)
    assert slow.requires_grad
    assert_close(fast, rms_norm(norm, x).detach(), "fast path")
    assert_close(slow.detach(), rms_norm(norm, x).detach(), "definition")
    assert_sweeps(data, norm, x)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_blocked_rms_norm_is_the_definition_over_many_blocks(dtype, silu: bool, layout) -> None:
    norm = randomise(RMSNorm(3, bias=True, silu=silu), 1, dtype)
    x = random_like(torch.empty(1, 3, 3, 250, 251), 2)  # 188 250 positions, more than two blocks and a part
    x[:, :, 0] *= 1e-3
    x[:, :, 1, :100] = 0
    x[:, :, 2, :100] = 1e-13  # below eps
    x = x.to(dtype).to(memory_format=layout)
    before = x.clone()
    with torch.no_grad():
        got = norm(x)
    want = norm(x).detach()
    tolerance = {torch.bfloat16: 0.02, torch.float16: 0.003}.get(dtype)
    assert got.isfinite().all()
    assert_close(got, want, tolerance=tolerance)
    assert torch.equal(x, before)


@examples(30)
@given(st.data(), clips(channels=5), st.booleans(), st.booleans(), seeds)
def test_layer_norm(data, x: Tensor, affine: bool, silu: bool, seed: int) -> None:
    norm, before = randomise(LayerNorm(5, affine=affine, silu=silu), seed, x.dtype), x.clone()
    want = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    if affine:
        want = want * norm.weight.view(-1, 1, 1, 1) + norm.bias.view(-1, 1, 1, 1)
    want = F.silu(want) if silu else want
    with torch.no_grad():
        # channels that happen to be nearly equal are divided by little: what rounding explains is larger there
        assert_close(norm(x), want, tolerance=1e-10 if x.dtype == torch.double else 1e-4)
    assert torch.equal(x, before)
    assert_sweeps(data, norm, x)


def group_norm(norm: GroupNorm, x: Tensor) -> Tensor:
    """By torch, the clip at once, frame after frame or chunk after chunk."""
    frames = x.split({"clip": x.shape[T], "frame": 1}.get(norm.over, norm.over), T)
    return torch.cat([F.group_norm(f.contiguous(), norm.groups, norm.weight, norm.bias, norm.eps) for f in frames], T)


@pytest.mark.parametrize("over", ["clip", "frame", 1, 3])
@examples(30)
@given(data=st.data(), x=clips(channels=6), groups=st.sampled_from([1, 2, 3]), seed=seeds)
def test_group_norm(over, data, x: Tensor, groups: int, seed: int) -> None:
    norm = randomise(GroupNorm(groups, 6, over=over, eps=1e-3), seed, x.dtype)
    # of few and nearly equal numbers the variance is a difference of large terms
    loose = 1e-4 if x.dtype == torch.float else None
    with torch.no_grad():
        assert_close(norm(x), group_norm(norm, x), tolerance=loose)
    assert_sweeps(data, norm, x)


@pytest.mark.parametrize("over", ["clip", "frame"])
def test_group_norm_keeps_its_precision_far_from_zero(over) -> None:
    x = random_like(torch.empty(1, 4, 8, 9, 5, dtype=torch.double), 0) + 1000
    norm = randomise(GroupNorm(2, 4, over=over), 3)
    with torch.no_grad():
        for plan in (Plan((T,), chunk=3), Plan((H,), strip=2), Plan((T, H), chunk=3, strip=2)):
            want = group_norm(norm, x)
            assert ((run(norm, x, plan) - want).abs().max() / want.abs().max()).item() < 1e-11
            # statistics of float32 slabs are merged in float64: no worse than torch's own on the whole clip
            single = run(norm.float(), x.float(), plan).double()
            assert (single - want).abs().max() <= 2 * (group_norm(norm, x.float()) - want).abs().max() + 1e-5
            norm.double()


PLANS = [Plan(), *(Plan(order, chunk=3, strip=2) for order in ORDERS)]


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("over", ["clip", "frame", 2, 3])
@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (1e4, 1.0), (-1e4, 1e-1), (1.0, 1e-3)])
@torch.no_grad()
def test_group_norm_loses_what_rounding_its_input_loses_and_no_more(over, offset, spread, plan: Plan) -> None:
    noise = random_like(torch.empty(2, 4, 8, 9, 5, dtype=torch.double), 0)
    lift = torch.tensor([1.0, -1.0, 1.0, 0.5], dtype=torch.double).view(4, 1, 1, 1)  # groups with means of their own
    norm = randomise(GroupNorm(4, 4, over=over, eps=1e-12), 3)
    for dtype in (torch.double, torch.float):
        x = (noise * spread + offset * lift).to(dtype)
        want, got = group_norm(norm.double(), x.double()), run(norm.to(dtype), x, plan)
        assert got.dtype == dtype
        # a number of that size is known to half a unit in its last place; a few such steps, over the spread
        bound = 8 * torch.finfo(dtype).eps * (abs(offset) / spread + 1) * max(1.0, want.abs().max().item())
        assert (got.double() - want).abs().max().item() <= bound


@pytest.mark.parametrize("over", ["clip", "frame", 3])
@torch.no_grad()
def test_statistics_of_uneven_slabs_weigh_as_much_as_their_slabs(over) -> None:
    x = random_like(torch.empty(1, 4, 7, 9, 5, dtype=torch.double), 0)
    x[:, :, :, :1] += 50  # one row, and one frame, far from the others
    x[:, :, 6:] -= 30
    norm = randomise(GroupNorm(2, 4, over=over), 3)
    want = group_norm(norm, x)
    for order, cuts in [((T,), [1, 5, 1]), ((H,), [1, 8]), ((T, H), [2, 5]), ((H, T), [7, 1, 1])]:
        assert_close(drive(norm, x, order, cuts, 4), want, f"{order}, {cuts}")


@torch.no_grad()
@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("over", ["clip", "frame", 2])
def test_a_constant_clip_normalises_to_the_bias(over, plan: Plan) -> None:
    norm, x = randomise(GroupNorm(2, 4, over=over), 3), torch.full((1, 4, 5, 6, 3), 12345.678, dtype=torch.double)
    assert_close(run(norm, x, plan), norm.bias.view(1, -1, 1, 1, 1).expand_as(x), tolerance=1e-5)


@pytest.mark.parametrize("over", ["clip", "frame", 2])
def test_group_norm_in_slabs_under_grad_is_the_same(over) -> None:
    norm, x = randomise(GroupNorm(2, 4, over=over), 3), random_like(torch.empty(2, 4, 5, 6, 3, dtype=torch.double), 0)
    for plan in (Plan((T,), chunk=2), Plan((H,), strip=2), Plan((H, T), chunk=2, strip=4)):
        got = run(norm, x, plan)
        assert got.requires_grad
        assert_close(got.detach(), group_norm(norm, x).detach())


@examples(40)
@given(data=st.data(), x=clips(channels=6), size=st.integers(1, 5), seed=seeds)
def test_group_norm_over_chunks_is_one_of_each_chunk(data, x: Tensor, size: int, seed: int) -> None:
    norm = randomise(GroupNorm(2, 6, over=size, eps=1e-3), seed, x.dtype)
    clip = randomise(GroupNorm(2, 6, eps=1e-3), seed, x.dtype)
    with torch.no_grad():
        assert_close(norm(x), torch.cat([clip(chunk) for chunk in x.split(size, T)], T))
    assert_sweeps(data, norm, x)


def test_a_clip_norm_answers_at_the_end_and_a_frame_norm_at_once() -> None:
    slab = torch.randn(1, 4, 2, 4, 4)
    clip, frame = (SlabStream(GroupNorm(2, 4, over=over), Plan((T,), chunk=2)) for over in ("clip", "frame"))
    assert [clip.push(slab).shape[T], clip.finish().shape[T]] == [0, 2]
    assert [frame.push(slab).shape[T], frame.finish().shape[T]] == [2, 0]


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="6 channels do not divide into 4 groups"):
        GroupNorm(4, 6)
