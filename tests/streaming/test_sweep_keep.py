"""Where the outer state lies is no part of the answer: not one bit of it, nor of a stream saved and resumed."""

from dataclasses import replace

import pytest
import torch
from resume_stream import PLANS, build, push_all
from sweep_helpers import random_like
from torch import Tensor

from vidlatent.nn import CausalFrameAttention, Chain, Conv3d, GroupNorm, Residual
from vidlatent.streaming import H, Plan, SlabStream, T, Window, run
from vidlatent.streaming.shelf import Kept

CUTS = [2, 1, 0, 4, 3]
AWAY = ["host", "file"]


def clip(dtype: torch.dtype = torch.float32) -> Tensor:
    return random_like(torch.empty(1, 3, 10, 10, 6, dtype=dtype), 5)


def pushed(plan: str) -> list[Tensor]:
    """Uneven slabs, an empty one among them."""
    return list(clip().split(CUTS, PLANS[plan].axes[0]))


def same(got: list[Tensor], want: list[Tensor]) -> bool:
    return len(got) == len(want) and all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("keep", AWAY)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_bits_wherever_the_state_lies(plan: str, keep: str, dtype: torch.dtype) -> None:
    model, x = build(barrier=dtype == torch.float32).to(dtype), clip(dtype).to(memory_format=torch.channels_last_3d)
    want = run(model, x, PLANS[plan])
    assert torch.equal(run(model, x, replace(PLANS[plan], keep=keep)), want)
    assert torch.equal(run(model, x, replace(PLANS[plan], keep=keep), torch.full_like(want, float("nan"))), want)


@pytest.mark.parametrize("keep", AWAY)
@pytest.mark.parametrize("order", [(T,), (H,), (T, H), (H, T)], ids=str)
def test_the_same_bits_with_attention_to_all_frames_and_group_norms_of_chunks(order, keep: str) -> None:
    torch.manual_seed(0)
    attention, both = Residual(CausalFrameAttention(4, heads=2)), Window.centred(3)
    model = Chain(Conv3d(3, 4, t=both, h=both), GroupNorm(2, 4, over=3), attention, Conv3d(4, 3, t=both, h=both))
    plan = Plan(order, chunk=2, strip=3)
    with torch.no_grad():
        assert torch.equal(run(model, clip(), replace(plan, keep=keep)), run(model, clip(), plan))


@pytest.mark.parametrize("keep", AWAY)
@pytest.mark.parametrize("plan", PLANS)
def test_the_outer_state_lies_elsewhere_and_is_counted(plan: str, keep: str) -> None:
    here = SlabStream(build(barrier=True), PLANS[plan])
    away = SlabStream(build(barrier=True), replace(PLANS[plan], keep=keep))
    for slab in pushed(plan):
        here.push(slab)
        away.push(slab)
        assert away.sweep.state_bytes == here.sweep.state_bytes > 0
    held = list(away.sweep.tensors())
    kept = sum(tensor.nbytes for tensor in held if isinstance(tensor, Kept))
    assert kept > 0.8 * away.sweep.state_bytes
    assert not any(isinstance(tensor, Kept) for tensor in here.sweep.tensors())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("keeps", [("file", "file"), ("host", "file"), ("file", "device")], ids=str)
def test_a_stream_resumes_wherever_its_state_lay_and_is_to_lie(plan: str, keeps: tuple[str, str]) -> None:
    model, slabs, saved, want = build(barrier=True), pushed(plan), [], []
    first, second = (replace(PLANS[plan], keep=keep) for keep in keeps)
    stream = SlabStream(model, first)
    for slab in slabs:
        want.append(stream.push(slab))
        saved.append(stream.state_dict())
    want.append(stream.finish())
    for position in (1, 3):
        tensors = [t for state in saved[position]["states"].values() for t in flatten(list(state.values()))]
        assert tensors
        assert all(isinstance(tensor, Tensor) for tensor in tensors)  # what is saved lies nowhere else
        loaded, resumed = SlabStream(model, second), SlabStream(model, second)
        loaded.load_state_dict(saved[position])
        resumed.load_state_dict(loaded.state_dict())
        assert same(push_all(resumed, slabs[position + 1 :]), want[position + 1 :])


def flatten(values: list) -> list:
    """Every tensor, or what stands for one, in lists of lists."""
    found = []
    for value in values:
        found += flatten(value) if isinstance(value, list) else [value] * isinstance(value, Tensor | Kept)
    return found


def test_two_streams_with_files_of_their_own_do_not_disturb_each_other() -> None:
    model, plan = build(), replace(PLANS["frames"], keep="file")
    inputs = [list(random_like(torch.empty(1, 3, 8, 8, 6), seed).split(2, T)) for seed in (1, 2)]
    alone = [push_all(SlabStream(model, plan), slabs) for slabs in inputs]
    streams, together = [SlabStream(model, plan) for _ in inputs], ([], [])
    for slabs in zip(*inputs, strict=True):
        for stream, slab, answers in zip(streams, slabs, together, strict=True):
            answers.append(stream.push(slab))
    for stream, answers in zip(streams, together, strict=True):
        answers.append(stream.finish())
    assert all(same(got, want) for got, want in zip(together, alone, strict=True))
