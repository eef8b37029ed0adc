"""Memory that runs out despite the plan: the pass goes on in thinner slabs, says so, and its answer stays."""

from dataclasses import replace

import pytest
import torch
from resume_stream import PLANS, build
from sweep_helpers import assert_close

from vidlatent.streaming import H, Plan, T, run

BUDGET = 1 << 30


def exhausting(monkeypatch: pytest.MonkeyPatch, largest: int) -> torch.nn.Module:
    """A model whose first layer is out of memory for slabs of more than `largest` numbers."""
    model = build()
    valid = model[1].valid

    def limited(x: torch.Tensor, *args: object) -> torch.Tensor:
        if x.numel() > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return valid(x, *args)

    monkeypatch.setattr(model[1], "valid", limited)
    return model


@pytest.mark.parametrize(
    "plan", [Plan(), Plan((T,), chunk=8), Plan((H,), strip=8), Plan((T, H), chunk=8, strip=6)], ids=str
)
def test_before_anything_is_finished_the_pass_starts_anew_in_thinner_slabs(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, model = torch.randn(1, 3, 9, 8, 6), exhausting(monkeypatch, 700)
    want, out = build()(x), torch.full_like(build()(x), float("nan"))
    with pytest.warns(RuntimeWarning, match="starting anew"):
        run(model, x, replace(plan, budget_bytes=BUDGET), out)
    assert_close(out, want)


def test_later_it_goes_on_with_its_state_elsewhere_and_thinner_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build(), torch.randn(1, 3, 16, 8, 6)
    valid, sizes = model[1].valid, []

    def third_fails(part: torch.Tensor, *args: object) -> torch.Tensor:
        sizes.append(part.shape[T])
        if len(sizes) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return valid(part, *args)

    monkeypatch.setattr(model[1], "valid", third_fails)
    out = torch.full_like(build()(x), float("nan"))
    with pytest.warns(RuntimeWarning, match="going on") as said:
        run(model, x, Plan((T,), chunk=4, budget_bytes=BUDGET), out)
    assert len(said) == 1
    assert sizes[2] == sizes[3] == 6  # the same slab again, then half as thick
    assert max(sizes[4:]) == 5  # the last is fitted to the strides
    assert_close(out, build()(x))


def test_without_a_budget_or_anything_thinner_the_error_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    x, model = torch.randn(1, 3, 9, 8, 6), exhausting(monkeypatch, 0)
    for plan in (PLANS["frames"], Plan((T,), chunk=1, budget_bytes=BUDGET)):
        with pytest.raises(torch.OutOfMemoryError):
            run(model, x, plan)
