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
        held = [0 if q is None else q.shape[axis] for q in state.queues]
        assert held == [n - min(given_to) for n in given_to]
    for pieces, branch in zip(out, branches, strict=True):
        assert torch.equal(torch.cat(pieces, axis), branch)


def test_align_queues_hold_no_more_memory_than_they_show() -> None:
    state = Align()
    state.feed([torch.zeros(1, 4, 100, 8, 8), torch.zeros(1, 4, 99, 8, 8)], T)
    held = [queue for queue in state.queues if queue is not None]
    assert [queue.untyped_storage().nbytes() for queue in held] == [4 * 64 * 4]


@examples(100)
@given(st.data(), st.integers(0, 9), st.booleans())
def test_gather_gives_nothing_until_the_end_and_then_everything(data, length: int, apart: bool) -> None:
    x, state = torch.randn(1, 1, length, 2, 2), Gather()
    slabs = list(x.split(data.draw(partitions(length)), T)) + ([x[:, :, :0]] if apart else [])
    for slab in slabs[:-1]:
        assert state.feed(slab, T, False) == []
    released = state.feed(slabs[-1], T, True)
    assert torch.equal(torch.cat(released, T), x)
    assert len(released) == max(1, sum(slab.shape[T] > 0 for slab in slabs))
    assert state.seen == []  # released, not copied


def test_a_gathered_slab_may_be_overwritten_by_its_owner() -> None:
    state, buffer = Gather(), torch.ones(1, 1, 2, 2, 2)
    state.feed(buffer, T, False)
    buffer.fill_(2)
    assert [slab.unique().tolist() for slab in state.feed(buffer, T, True)] == [[1], [2]]


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
