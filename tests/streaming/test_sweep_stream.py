"""Slab in, slab out: what a stream refuses, and that its answers depend on nothing but what was pushed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from resume_stream import PLANS, build, push_all
from sweep_helpers import assert_close, examples, partitions, random_like

from vidlatent.nn import Chain, Conv3d, FrameAttention, Residual
from vidlatent.streaming import H, Plan, SlabStream, T, W, Window
from vidlatent.streaming.state import concat


def stream(plan: Plan | None = None) -> SlabStream:
    return SlabStream(build(), plan or PLANS["frames"])


def clip(frames: int = 4, rows: int = 8) -> torch.Tensor:
    return torch.randn(1, 3, frames, rows, 6)


def test_a_finished_stream_takes_nothing_more() -> None:
    for end in (lambda s: s.finish(), lambda s: s.push(clip(), last=True)):
        finished = stream()
        finished.push(clip())
        end(finished)
        for again in (lambda s: s.push(clip()), lambda s: s.finish()):
            with pytest.raises(ValueError, match="finished"):
                again(finished)


def test_a_finished_stream_stays_finished_when_it_is_loaded() -> None:
    finished, again = stream(), stream()
    finished.push(clip(), last=True)
    again.load_state_dict(finished.state_dict())
    with pytest.raises(ValueError, match="finished"):
        again.finish()


def test_a_stream_into_which_nothing_was_pushed_cannot_finish() -> None:
    with pytest.raises(ValueError, match="nothing was pushed"):
        stream().finish()


@pytest.mark.parametrize("plan", PLANS)
def test_what_waits_for_the_end_can_be_had_in_pieces(plan: str) -> None:
    """Of layers that look ahead further than the clip is long, so that nearly all of it waits."""
    model = Chain(*(Conv3d(3, 3, t=Window.centred(3), h=Window.centred(3), w=Window.centred(3)) for _ in range(6)))
    drained, finished = (SlabStream(model, PLANS[plan]) for _ in range(2))
    outer = drained.outer
    slabs = clip(5, 5).split(2, outer)
    pushed = [(drained.push(slab), finished.push(slab))[0].shape[outer] for slab in slabs]
    pieces = list(drained.drain())
    assert len(pieces) > 1
    assert max(piece.shape[outer] for piece in pieces) <= max(2, *pushed)
    assert torch.equal(torch.cat(pieces, outer), finished.finish())


@pytest.mark.parametrize("shape", [(1, 3, 4, 8, 7), (1, 3, 4, 9, 6), (2, 3, 4, 8, 6), (1, 4, 4, 8, 6), (3, 4, 8, 6)])
def test_a_slab_of_another_shape_is_refused_and_the_stream_goes_on(shape: tuple[int, ...]) -> None:
    x = clip(7)
    want, got = stream(), stream()
    got.push(x[:, :, :4])
    with pytest.raises(ValueError, match=r"\(.*\) does not continue"):
        got.push(torch.zeros(shape), last=True)
    want.push(x[:, :, :4])
    assert torch.equal(got.push(x[:, :, 4:], last=True), want.push(x[:, :, 4:], last=True))


@pytest.mark.parametrize("other", [Plan((T,), chunk=2), Plan((H,), strip=4), Plan((T, H), chunk=3, strip=5)])
def test_a_state_of_another_plan_is_refused(other: Plan) -> None:
    running = stream(PLANS["rows inside frames"])
    running.push(clip())
    with pytest.raises(ValueError, match="make them equal"):
        stream(other).load_state_dict(running.state_dict())


@pytest.mark.parametrize(
    "arguments",
    [{"axes": (T,)}, {"axes": (H,), "chunk": 3}, {"axes": (W,), "chunk": 1, "strip": 1}, {"axes": (T, H), "chunk": 1}],
)
def test_a_plan_needs_a_thickness_for_each_axis_it_can_sweep(arguments: dict) -> None:
    with pytest.raises(ValueError, match="chunk or strip"):
        Plan(**arguments)


def test_a_stream_needs_an_axis_and_each_only_once() -> None:
    with pytest.raises(ValueError, match="needs an axis"):
        SlabStream(build(), Plan())
    with pytest.raises(ValueError, match="at most once"):
        SlabStream(build(), Plan((T, T), chunk=1))


def test_a_plan_says_what_it_does() -> None:
    assert str(Plan()) == "whole clip"
    said = str(PLANS["rows inside frames"])
    assert 0 <= said.find("3 frames") < said.find("4 rows")
    assert [Plan((H, T), chunk=5, strip=2).thickness(axis) for axis in (T, H)] == [5, 2]


@examples(25)
@given(st.data(), st.sampled_from(sorted(PLANS)), st.booleans())
def test_any_slabs_empty_ones_first_or_between_give_the_same_answer(data, plan: str, barrier: bool) -> None:
    model, outer = build(barrier=barrier).double(), PLANS[plan].axes[0]
    x = random_like(torch.empty(1, 3, 7, 6, 4, dtype=torch.double), 0)
    slabs = x.split([0, *data.draw(partitions(x.shape[outer]))], outer)
    assert_close(concat(push_all(SlabStream(model, PLANS[plan]), list(slabs)), outer), model(x))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("barrier", [False, True])
def test_slabs_may_be_overwritten_once_pushed_and_answers_once_given(plan: str, barrier: bool) -> None:
    outer, x = PLANS[plan].axes[0], clip(8)
    model = Chain(Residual(FrameAttention(3)), build(barrier=barrier)).requires_grad_(False)  # a barrier comes first
    want = push_all(SlabStream(model, PLANS[plan]), [slab.clone() for slab in x.split(3, outer)])
    running, got = SlabStream(model, PLANS[plan]), []
    for slab in [*x.split(3, outer), x.narrow(outer, 0, 0)]:
        buffer = slab.clone()
        answer = running.push(buffer, last=not slab.numel())
        got.append(answer.clone())
        buffer.fill_(float("nan"))
        answer.fill_(float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_a_late_answer_has_zero_length_and_the_right_shape() -> None:
    conv = Conv3d(3, 5, t=Window.centred(5), h=Window(2, 2)).requires_grad_(False)
    running = SlabStream(conv, Plan((T,), chunk=1))
    assert running.push(clip(1)).shape == (1, 5, 0, 4, 6)
    assert running.push(clip(1)).shape == (1, 5, 0, 4, 6)
    assert running.push(clip(1)).shape == (1, 5, 1, 4, 6)
    assert running.finish().shape == (1, 5, 2, 4, 6)
