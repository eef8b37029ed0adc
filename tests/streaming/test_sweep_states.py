"""The sweep: where each state lives, what a rewind forgets, and that modules never change."""

import copy
import gc
import weakref
from dataclasses import dataclass

import pytest
import torch
from resume_stream import PLANS, build, push_all
from sweep_helpers import random_like
from torch import Tensor, nn

from vidlatent.nn import Chain, Conv3d
from vidlatent.streaming import Align, Gather, H, Halo, SlabStream, Sweep, T, W, Window


@dataclass
class Count:
    number: int = 0


def count(sweep: Sweep, module: nn.Module, axis: int) -> int:
    state = sweep.state(module, axis, Count)
    state.number += 1
    return state.number


def test_a_state_is_found_by_module_axis_and_inner_slab_only() -> None:
    sweep, one, two = Sweep(T, H), nn.Identity(), nn.Identity()
    assert [count(sweep, one, T), count(sweep, one, T), count(sweep, two, T), count(sweep, one, H)] == [1, 2, 1, 1]
    sweep.index[H] = 1  # the next strip: the outer axis starts anew, the inner goes on
    assert [count(sweep, one, T), count(sweep, one, H)] == [1, 2]
    sweep.index[T] = 1  # the outer slab is no part of any key
    assert [count(sweep, one, T), count(sweep, one, H)] == [2, 3]
    sweep.index[H] = 0
    assert count(sweep, one, T) == 3


def test_rewind_forgets_the_inner_axis_alone() -> None:
    sweep, module = Sweep(H, T), nn.Identity()
    for index in range(3):
        sweep.index[T] = index
        count(sweep, module, H)
        count(sweep, module, T)
    sweep.rewind(T)
    assert count(sweep, module, T) == 1
    assert [count(sweep, module, H) for sweep.index[T] in range(3)] == [2, 2, 2]


def test_two_sweeps_never_meet() -> None:
    module, one, two = nn.Identity(), Sweep(T), Sweep(T)
    assert [count(one, module, T), count(one, module, T), count(two, module, T)] == [1, 2, 1]


@pytest.mark.parametrize("axes", [(T, T), (W,), (T, W), (0,), (T, H, T)])
def test_axes_that_cannot_be_swept_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="axes must be"):
        Sweep(*axes)


def test_state_bytes_counts_every_tensor_before_and_after_a_reload() -> None:
    module, sweep = nn.Identity(), Sweep(T, H)
    sweep.state(module, T, Halo).carry = torch.zeros(3)
    sweep.state(module, H, Align).queues = [[torch.zeros(5)], []]
    sweep.index[H] = 1
    sweep.state(module, T, Gather).slabs = [torch.zeros(7, dtype=torch.double), torch.zeros(1)]
    assert sweep.state_bytes == 4 * 3 + 4 * 5 + 8 * 7 + 4
    again = Sweep(T, H)
    again.load_state_dict(module, sweep.state_dict(module))
    assert again.state_bytes == sweep.state_bytes
    assert {tuple(tensor.shape) for tensor in again.tensors()} == {(3,), (5,), (7,), (1,)}
    again.index[H] = 1
    assert [slab.shape[0] for slab in again.state(module, T, Gather).slabs] == [7, 1]


def test_states_are_saved_by_the_name_of_their_module() -> None:
    model = Chain(Conv3d(1, 1, t=Window.causal(3)), Chain(Conv3d(1, 1, t=Window.causal(2)))).requires_grad_(False)
    sweep = Sweep(T)
    model(torch.ones(1, 1, 4, 1, 1), sweep)
    saved = sweep.state_dict(model)
    assert {key.split("|")[0] for key in saved} == {"0", "1.0"}
    twin, again = copy.deepcopy(model), Sweep(T)
    again.load_state_dict(twin, saved)
    assert torch.equal(twin(torch.ones(1, 1, 2, 1, 1), again), model(torch.ones(1, 1, 2, 1, 1), sweep))


def photograph(module: nn.Module) -> dict[str, object]:
    """Every attribute of every submodule, deep enough to see a change."""
    return {
        f"{name}.{key}": value.clone() if isinstance(value, Tensor) else repr(value)
        for name, part in module.named_modules()
        for attributes in (vars(part), part._parameters, part._buffers)
        for key, value in attributes.items()
        if key not in ("_parameters", "_buffers", "_modules")
    }


@pytest.mark.parametrize("plan", PLANS)
def test_a_sweep_changes_nothing_in_the_module(plan: str) -> None:
    model, x = build(barrier=True), random_like(torch.empty(1, 3, 7, 8, 4), 1)
    before = photograph(model)
    push_all(SlabStream(model, PLANS[plan]), list(x.split(2, PLANS[plan].axes[0])))
    after = photograph(model)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name], name


@pytest.mark.parametrize("plan", PLANS)
def test_interleaved_streams_on_one_module_do_not_disturb_each_other(plan: str) -> None:
    model, outer = build(), PLANS[plan].axes[0]
    inputs = [list(random_like(torch.empty(b, 3, 9, 9, 6), b).split(2, outer)) for b in (1, 2)]
    alone = [push_all(SlabStream(model, PLANS[plan]), slabs) for slabs in inputs]
    streams, together = [SlabStream(model, PLANS[plan]) for _ in inputs], ([], [])
    for step in range(len(inputs[0])):
        for stream, slabs, answers in zip(streams, inputs, together, strict=True):
            answers.append(stream.push(slabs[step]))
    for stream, answers in zip(streams, together, strict=True):
        answers.append(stream.finish())
    for want, got in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))


def test_an_abandoned_sweep_leaves_nothing_behind() -> None:
    model = build()
    stream = SlabStream(model, PLANS["frames"])
    stream.push(torch.randn(1, 3, 4, 8, 8))
    held = [weakref.ref(tensor) for tensor in stream.sweep.tensors()]
    assert len(held) > 5
    del stream
    gc.collect()
    assert all(tensor() is None for tensor in held)
