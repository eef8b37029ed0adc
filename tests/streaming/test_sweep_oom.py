"""When memory runs out in a sweep: the state moves off the device once, and the answer stays bit for bit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from resume_stream import PLANS, build
from sweep_helpers import random_like
from torch import Tensor

from vidlatent.nn import Chain
from vidlatent.streaming import Barrier, Local, Pointwise, SlabStream, T
from vidlatent.streaming import shelf as shelf_module
from vidlatent.streaming.oom import is_out_of_memory
from vidlatent.streaming.shelf import Kept


def exhausted() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Failing:
    """Calls `method`, but raises at the calls numbered in `at`."""

    def __init__(self, method: Callable, at: set[int], error: Callable[[], Exception] = exhausted) -> None:
        self.method, self.at, self.error, self.calls = method, at, error, 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.calls in self.at:
            raise self.error()
        return self.method(*args, **kwargs)


def clip() -> Tensor:
    return random_like(torch.empty(1, 3, 10, 10, 6), 5)


def sweep(model: Chain, plan: str, keep: str = "device") -> tuple[list[Tensor], SlabStream]:
    stream = SlabStream(model, replace(PLANS[plan], keep=keep))
    outer = stream.outer
    slabs = clip().split(stream.plan.thickness(outer), outer)
    return [stream.push(slab, last=number == len(slabs) - 1) for number, slab in enumerate(slabs)], stream


def operators(model: Chain) -> dict[str, tuple[torch.nn.Module, str]]:
    """One operator of each kind that a sweep attempts, the first with a state before it."""
    parts = [part for part in model.modules() if isinstance(part, Pointwise | Local | Barrier)]
    kinds = {"apply_to": Pointwise, "valid": Local, "note": Barrier, "answer": Barrier}
    return {
        method: (next(part for part in parts[3:] if isinstance(part, kind)), method) for method, kind in kinds.items()
    }


@pytest.mark.parametrize("call", [2, 3])
@pytest.mark.parametrize("method", ["apply_to", "valid", "note", "answer"])
@pytest.mark.parametrize("plan", PLANS)
def test_the_state_moves_and_the_answer_is_the_same(plan: str, method: str, call: int, monkeypatch) -> None:
    model = build(barrier=True)
    want, undisturbed = sweep(model, plan)
    part, name = operators(model)[method]
    monkeypatch.setattr(part, name, failing := Failing(getattr(part, name), {call}))
    got, stream = sweep(model, plan)
    assert failing.calls > call  # it failed, and was called again
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert stream.sweep.relieved
    assert not undisturbed.sweep.relieved


@pytest.mark.parametrize("plan", PLANS)
def test_joining_a_halo_may_fail_as_well(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    want, _ = sweep(model, plan)
    monkeypatch.setattr(shelf_module, "concat", Failing(shelf_module.concat, {3}))
    got, stream = sweep(model, plan)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert stream.sweep.relieved


@pytest.mark.parametrize("plan", PLANS)
def test_after_relief_the_outer_state_lies_elsewhere_and_the_stream_can_be_saved(plan: str, monkeypatch) -> None:
    model, outer = build(barrier=True), PLANS[plan].axes[0]
    part, name = operators(model)["valid"]
    stream, slabs = SlabStream(model, PLANS[plan]), list(clip().split(3, outer))
    stream.push(slabs[0])
    before, held = stream.sweep.state_dict(model), stream.sweep.state_bytes
    with monkeypatch.context() as patched:
        patched.setattr(part, name, Failing(getattr(part, name), {1}))
        moved = stream.push(slabs[1])
    assert any(isinstance(tensor, Kept) for tensor in stream.sweep.tensors())
    assert stream.sweep.state_bytes > 0
    saved = stream.state_dict()
    again = SlabStream(model, PLANS[plan])
    again.load_state_dict(saved)
    for slab in slabs[2:]:
        assert torch.equal(stream.push(slab), again.push(slab))
    assert torch.equal(stream.finish(), again.finish())
    earlier = SlabStream(model, PLANS[plan])  # a snapshot from before is not touched
    earlier.push(slabs[0])
    earlier.sweep.load_state_dict(model, before)
    assert earlier.sweep.state_bytes == held
    assert torch.equal(earlier.push(slabs[1]), moved)


@pytest.mark.parametrize("at", [{5, 6}, {5, 9}])
def test_a_second_time_is_the_callers(at: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    part, name = operators(model)["valid"]
    monkeypatch.setattr(part, name, failing := Failing(getattr(part, name), at))
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        sweep(model, "rows inside frames")
    assert failing.calls == max(at)


@pytest.mark.parametrize("keep", ["host", "file"])
def test_a_state_that_lies_elsewhere_already_cannot_move(keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    part, name = operators(model)["valid"]
    monkeypatch.setattr(part, name, failing := Failing(getattr(part, name), {2}))
    with pytest.raises(torch.OutOfMemoryError):
        sweep(model, "frames", keep)
    assert failing.calls == 2


def test_without_a_state_there_is_nothing_to_move(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Chain(build()[1])
    monkeypatch.setattr(model[0], "valid", failing := Failing(model[0].valid, {1}))
    stream = SlabStream(model, PLANS["frames"])
    stream.sweep.rewind(T)
    monkeypatch.setattr(type(stream.sweep), "tensors", lambda sweep: iter(()))  # keeps nothing
    with pytest.raises(torch.OutOfMemoryError):
        stream.push(clip())
    assert failing.calls == 1
    assert not stream.sweep.relieved


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("shapes"), OSError("disk"), KeyboardInterrupt()])
def test_any_other_error_passes_at_once(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    part, name = operators(model)["valid"]
    monkeypatch.setattr(part, name, failing := Failing(getattr(part, name), {3}, lambda: error))
    with pytest.raises(type(error)) as caught:
        sweep(model, "frames")
    assert caught.value is error
    assert failing.calls == 3


MESSAGES = [
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    " 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    "std::bad_alloc",
]


@pytest.mark.parametrize("error", [exhausted(), MemoryError(), *map(RuntimeError, MESSAGES)], ids=str)
def test_every_way_to_say_that_memory_ran_out(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("expected size 3"), ValueError(MESSAGES[0]), OSError(12, "x"), KeyboardInterrupt(), SystemExit(1)],
    ids=repr,
)
def test_anything_else_says_something_else(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_the_allocator_itself_says_it_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
