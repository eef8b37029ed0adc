"""The engine: a plan changes memory, never the answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from resume_stream import PLANS, build
from sweep_helpers import assert_close, examples, random_like

from vidlatent.nn import Chain, Conv3d, FrameAttention, GroupNorm, Nearest, Residual, RMSNorm, SiLU, Trim
from vidlatent.streaming import H, Plan, SlabStream, T, Window, run

plans = st.builds(
    Plan, st.sampled_from([(), (T,), (H,), (T, H), (H, T)]), chunk=st.integers(1, 12), strip=st.integers(1, 12)
)


@examples(40)
@given(plans, st.booleans(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([torch.double, torch.float]))
def test_the_answer_does_not_depend_on_the_plan(plan: Plan, barrier: bool, frames: int, rows: int, dtype) -> None:
    model, x = build(barrier=barrier).to(dtype), random_like(torch.empty(1, 3, frames, rows, 4, dtype=dtype), frames)
    want = model(x)
    assert_close(run(model, x, plan), want, str(plan))
    out = torch.full_like(want, float("nan"))
    assert run(model, x, plan, out) is out
    assert_close(out, want, f"{plan}, written into out")


def test_without_a_plan_the_clip_is_whole() -> None:
    model, x = build(), torch.randn(1, 3, 5, 8, 6)
    want, out = model(x), torch.empty(1, 3, 3, 8, 12)
    assert torch.equal(run(model, x), want)
    assert torch.equal(run(model, x, None, out), want)


@pytest.mark.parametrize("plan", PLANS)
def test_out_receives_the_very_slabs_that_are_returned_otherwise(plan: str) -> None:
    model, x = build(), torch.randn(1, 3, 9, 8, 6)
    want = run(model, x, PLANS[plan])
    frame = torch.full((1, 3, want.shape[2] + 2, *want.shape[3:]), 7.0)
    run(model, x, PLANS[plan], frame[:, :, 1:-1])  # a view into something larger
    assert torch.equal(frame[:, :, 1:-1], want)
    assert frame[:, :, [0, -1]].unique().tolist() == [7.0]


@pytest.mark.parametrize("plan", [Plan(), *PLANS.values()], ids=str)
@pytest.mark.parametrize("axis", range(5))
@pytest.mark.parametrize("more", [-1, 1])
def test_out_of_another_shape_is_refused(plan: Plan, axis: int, more: int) -> None:
    shape = [2, 3, 5, 8, 12]
    shape[axis] += more
    with pytest.raises(ValueError, match="out has"):
        run(build(), torch.randn(2, 3, 9, 8, 6), plan, torch.zeros(shape))


def causal_decoder(axis_name: str = "t") -> Chain:
    window, both = Window.causal(3), Window.centred(3)
    other = "h" if axis_name == "t" else "t"
    convolutions = [Conv3d(2, 2, **{axis_name: window, other: both, "w": both}) for _ in range(3)]
    return Chain(
        convolutions[0],
        Residual(Chain(RMSNorm(2), SiLU(), convolutions[1])),
        Nearest((2, 1, 1)),
        Trim(T, before=1),
        convolutions[2],
    ).requires_grad_(False)


@pytest.mark.parametrize("strip", [0, 4])
def test_state_of_a_causal_model_is_bounded_in_time(strip: int) -> None:
    stream, held, answered = SlabStream(causal_decoder(), Plan((T, H) if strip else (T,), chunk=1, strip=strip)), [], 0
    for _ in range(30):
        answered += stream.push(torch.randn(1, 2, 1, 8, 6)).shape[T]
        held.append(stream.sweep.state_bytes)
    assert answered == 59  # two for each frame but the first: none waits
    assert len(set(held[2:])) == 1
    if not strip:
        assert held[-1] == 4 * 3 * 2 * (2 * 8 * 6)  # three convolutions keep kernel - 1 frames of two channels


@pytest.mark.parametrize("strip", [0, 2])
def test_states_pin_no_memory_beyond_what_they_count(strip: int) -> None:
    model = Chain(build(), Residual(Conv3d(3, 3, t=Window.centred(5), h=Window.centred(3)))).requires_grad_(False)
    stream = SlabStream(model, Plan((T, H) if strip else (T,), chunk=4, strip=strip))
    for _ in range(3):
        stream.push(torch.randn(1, 3, 4, 8, 6))
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in stream.sweep.tensors()}
        assert sum(storage.nbytes() for storage in storages.values()) <= stream.sweep.state_bytes


def test_state_of_rows_grows_with_the_clip_and_not_with_the_rows() -> None:
    held = []
    for rows in (20, 40):
        stream = SlabStream(causal_decoder("h"), Plan((H,), strip=4))
        for slab in torch.randn(1, 2, 5, rows, 6).split(4, H):
            stream.push(slab)
        held.append(stream.sweep.state_bytes)
    assert held[0] == held[1]


def test_a_barrier_releases_what_it_gathered() -> None:
    model = Chain(GroupNorm(1, 3), Residual(FrameAttention(3))).requires_grad_(False)
    stream, sizes = SlabStream(model, Plan((T,), chunk=2)), []
    for _ in range(3):
        assert stream.push(torch.randn(1, 3, 2, 4, 4)).shape[T] == 0
        sizes.append(stream.sweep.state_bytes)
    slab = 3 * 2 * 4 * 4 * 4
    assert [size // slab for size in sizes] == [1, 2, 3]
    assert sizes[0] < 1.1 * slab  # what it noted is small
    assert stream.finish().shape[T] == 6
    assert stream.sweep.state_bytes < 0.1 * slab
