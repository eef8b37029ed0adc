"""What waits besides halos: aligned branches and gathered barriers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import examples, partitions

from vidlatent.streaming import Align, Gather, H, T
from vidlatent.streaming.state import concat, drop, join


def padded_to(cuts: list[int], steps: int) -> list[int]:
    return cuts + [0] * (steps - len(cuts))


@examples(150)
@given(st.data(), st.integers(0, 10), st.integers(1, 4), st.sampled_from([T, H]))
def test_align_emits_the_common_run_and_loses_nothing(data, length: int, count: int, axis: int) -> None:
    shape = [1, 1, 2, 2, 2]
    shape[axis] = length
    branches = [torch.randn(shape) for _ in range(count)]
    cuts = [data.draw(partitions(length)) for _ in branches]
    steps = max(map(len, cuts))
    slabs = [b.split(padded_to(c, steps), axis) for b, c in zip(branches, cuts, strict=True)]
    state, out, given_to = Align(), [[] for _ in branches], [0] * count
    for step in range(steps):
        fed = [s[step].clone() for s in slabs]
        answer = state.feed(fed, axis)
        for number, (piece, slab) in enumerate(zip(answer, fed, strict=True)):
            out[number].append(piece.clone())
            given_to[number] += slab.shape[axis]
            slab.fill_(float("nan"))  # queues hold copies
        lengths = {sum(piece.shape[axis] for piece in pieces) for pieces in out}
        assert lengths == {min(given_to)}
        held = [sum(slab.shape[axis] for slab in queue) for queue in state.queues]
        assert held == state.lengths
        assert held == [n - min(given_to) for n in given_to]
    for pieces, branch in zip(out, branches, strict=True):
        assert torch.equal(torch.cat(pieces, axis), branch)


def test_align_queues_hold_no_more_memory_than_they_show() -> None:
    state = Align()
    state.feed([torch.zeros(1, 4, 100, 8, 8), torch.zeros(1, 4, 99, 8, 8)], T)
    held = [slab for queue in state.queues for slab in queue]
    assert [slab.untyped_storage().nbytes() for slab in held] == [4 * 64 * 4]


def test_whole_slabs_leave_an_align_queue_without_a_copy() -> None:
    state, ahead = Align(), torch.randn(1, 2, 3, 2, 2)
    state.feed([ahead, ahead.narrow(T, 0, 0)], T)
    (queued,) = state.queues[0]
    run, _ = state.feed([ahead.narrow(T, 0, 0), ahead], T)
    assert run.untyped_storage().data_ptr() == queued.untyped_storage().data_ptr()
    assert torch.equal(run, ahead)


@examples(100)
@given(st.data(), st.integers(0, 9))
def test_gather_gives_out_what_it_holds_slab_by_slab(data, length: int) -> None:
    x, state = torch.randn(1, 1, length, 2, 2), Gather()
    cuts = data.draw(partitions(length))
    for slab in x.split(cuts, T):
        state.hold(slab, T)
    released = [state.release() for _ in range(len(state.slabs))]
    assert [slab.shape[T] for slab in released] == [size for size in cuts if size]
    assert torch.equal(torch.cat([*released, x[:, :, :0]], T), x)
    assert state.slabs == []  # released, not copied
    assert state.given == len(released)


def test_a_gathered_slab_may_be_overwritten_by_its_owner() -> None:
    state, buffer = Gather(), torch.ones(1, 1, 2, 2, 2)
    for value in (1, 2):
        state.hold(buffer.fill_(value), T)
    buffer.fill_(3)
    assert [state.release().unique().tolist() for _ in range(2)] == [[1], [2]]


def test_concat_ignores_empty_slabs_of_any_shape_and_copies_only_when_it_must() -> None:
    a, b, empty = torch.randn(1, 2, 3, 4, 1), torch.randn(1, 2, 2, 4, 1), torch.zeros(1, 2, 0, 9, 5)
    assert torch.equal(concat([empty, a, empty, b], T), torch.cat([a, b], T))
    assert concat([empty, a, empty], T) is a
    assert concat([a[:, :, :0], empty], T) is empty
    assert join(None, a, T) is a
    assert join(empty, a, T) is a
    assert join(a, empty, T) is a
    assert torch.equal(join(a, b, T), torch.cat([a, b], T))
    with pytest.raises(RuntimeError):
        concat([a, torch.zeros(1, 2, 1, 9, 5)], T)


@examples(30)
@given(st.integers(0, 5))
def test_drop_is_a_view_of_the_rest(count: int) -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5, 1)
    rest = drop(x, H, count)
    assert rest.flatten().tolist() == list(range(count, 5))
    assert rest.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
