"""The promise: whatever the budget, the whole clip's answer within it, or the smallest budget that would do.

A case is a random model, clip and budget; `VIDLATENT_EXAMPLES` says how many there are.
"""

import os
import random
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sweep_helpers import assert_close, random_like, randomise
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vidlatent.errors import BudgetTooSmall
from vidlatent.nn import Chain, norm
from vidlatent.streaming import Plan, Sweepable, meter, planner, run, search, tally, workspace
from vidlatent.streaming.meter import weight_bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "nn"))
from random_models import Builder

EXAMPLES = int(os.environ.get("VIDLATENT_EXAMPLES", "500"))
BUDGETS = 10
"""Cases per model and clip."""
SMALL = 2048
"""Bytes of temporaries inside operators on the statistics of a norm, which only clips as tiny as these show."""


@pytest.fixture(autouse=True)
def _what_is_counted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowances for what cannot be counted are larger than all of these clips: any error of counting would hide."""
    monkeypatch.setattr(search, "with_slack", lambda counted, device, **_: counted)
    for name in ("_ATTENTION_ROWS", "_ATTENTION_COLUMNS"):
        monkeypatch.setattr(workspace, name, 1)
    monkeypatch.setattr(meter, "CODE_BYTES", 0)
    monkeypatch.setattr(tally, "_OBJECT_BYTES", 0)
    monkeypatch.setattr(norm, "_frame_moments", frame_moments)  # what a block of it holds is not counted either


def frame_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """As `norm` has it, but at once: a block of its own is as large as these clips."""
    variance, mean = torch.var_mean(x, (3, 4), correction=0)
    return mean.double(), variance.double()


class Resident(TorchDispatchMode):
    """Bytes of the storages that real operators see and something refers to; those of `known` do not count."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.live: dict[int, weakref.ref] = {}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.see(args)  # some are made behind our back: state that another thread reads from a file
        result = func(*args, **(kwargs or {}))
        self.see((result,))
        return result

    def see(self, values: Any) -> None:
        for value in values:
            if isinstance(value, Tensor):
                self.count(value.untyped_storage())
            elif isinstance(value, list | tuple):
                self.see(value)

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known or key in self.live or not size:
            return

        def forget(_: object) -> None:
            del self.live[key]
            self.bytes -= size

        self.live[key] = weakref.ref(storage, forget)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)


def test_resident_counts_what_is_referenced() -> None:
    x = torch.ones(256)
    with Resident(x) as resident:
        y = x[1:] + 1  # 1020 bytes
        view = y[3:]
        z = torch.cat([view, view])  # 2016 bytes
        assert (resident.bytes, resident.peak) == (3036, 3036)
        del y
        assert resident.bytes == 3036
        del view
        assert resident.bytes == 2016
        z += 1
        assert resident.peak == 3036


class Case:
    """One model and one clip for it, with what the plans tried so far have needed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.module = randomise(draw_model(seed, self.rng), seed, torch.float32).requires_grad_(False)
        frames, rows = self.rng.choice([(6, 12), (6, 12), (24, 8), (3, 40)])  # at most; long ones are extrapolated
        shape = [self.rng.choice([1, 1, 2]), 3, self.rng.randint(1, frames), self.rng.randint(4, rows), 4]
        self.x = random_like(torch.empty(shape), seed).contiguous(memory_format=torch.channels_last_3d)
        self.answer = self.module(self.x)
        self.needed: dict[Plan, int] = {}

    def plan(self, budget: int) -> Plan:
        shape, output = tuple(self.x.shape), self.answer.nbytes
        return planner.plan_sweep(self.module, shape, budget, dtype=self.x.dtype, output_bytes=output)

    def smallest(self) -> int:
        with pytest.raises(BudgetTooSmall) as caught:
            self.plan(1)
        return caught.value.smallest_bytes

    def check(self, plan: Plan, budget: int) -> None:
        """`plan` gives the answer, within the budget."""
        case = f"seed {self.seed}, clip {tuple(self.x.shape)}, {plan!r}"
        if plan not in self.needed:
            self.needed[plan] = self.measure(plan, case)
            self.check_answer(plan, case)
        assert plan.peak_bytes <= budget, case
        assert self.needed[plan] <= budget + SMALL, f"{case}: needed {self.needed[plan]}, the budget is {budget}"

    def measure(self, plan: Plan, case: str) -> int:
        """Bytes that a sweep really needs, with its weights, its clip and its answer."""
        out, weights = torch.full_like(self.answer, float("nan")), [*self.module.parameters(), *self.module.buffers()]
        with torch.no_grad(), Resident(self.x, out, *weights) as resident:
            if plan.axes:
                run(self.module, self.x, plan, out)
            else:
                out = run(self.module, self.x, plan)
        assert_close(out, self.answer, case, 1e-3)
        held = weight_bytes(self.module) + self.x.nbytes
        return resident.peak + held + (out.nbytes if plan.axes else 0)

    def check_answer(self, plan: Plan, case: str) -> None:
        """In float64, up to the order of summation."""
        module, x = self.module.double(), self.x.double()
        assert_close(run(module, x, plan), module(x), case)
        module.float()


def draw_model(seed: int, rng: random.Random) -> Sweepable:
    """A few layers of an encoder or a decoder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        builder = Builder(seed)
        c = builder.width = 4
        middle = [
            lambda: [builder.down_space(c), *builder.first_frame(c)],
            lambda: [builder.down_time(c), *builder.first_frame(c)],
            lambda: builder.up(c, rng.choice([1, 2])),
            lambda: [builder.block(c), builder.norm(c)],
        ]
        return Chain(builder.conv(3, c), builder.block(c), *rng.choice(middle)(), builder.conv(c, 3))


def budgets(case: Case, smallest: int, largest: int) -> Iterator[int]:
    """From too small to enough for the whole clip, with the ends of what there is to choose."""
    yield from (smallest, largest)
    for _ in range(BUDGETS - 2):
        yield max(1, int(smallest + case.rng.uniform(-0.1, 1.0) * (largest - smallest)))


@pytest.mark.parametrize("seed", range(-(-EXAMPLES // BUDGETS)))
def test_every_budget_is_kept_or_refused_with_one_that_will_be(seed: int) -> None:
    case = Case(seed)
    smallest, largest = case.smallest(), case.plan(1 << 40).peak_bytes
    for budget in budgets(case, smallest, largest):
        if budget < smallest:
            with pytest.raises(BudgetTooSmall, match=f"the smallest needs {smallest}"):
                case.plan(budget)
        kept = max(budget, smallest)
        case.check(case.plan(kept), kept)


def test_the_cases_hold_plans_of_every_kind() -> None:
    plans = set()
    for seed in (0, 4, 8, 28):
        case = Case(seed)
        smallest, largest = case.smallest(), case.plan(1 << 40).peak_bytes
        plans |= {case.plan(max(budget, smallest)) for budget in budgets(case, smallest, largest)}
    assert {len(plan.axes) for plan in plans} == {0, 1, 2}
    assert len({plan.axes for plan in plans}) >= 4
    assert len({plan.keep for plan in plans}) >= 2
