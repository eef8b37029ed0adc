"""Look for the fastest plan within a budget, in as few predictions as can be: each takes a part of a second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vidlatent.streaming.cost import Cost
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.window import H, T

Group = list[Plan]
"""Plans that differ in one thickness only, coarse to fine: a thinner slab never needs more."""

_KEPT = 1.02
"""How far above its prediction a sweep may keep freed memory for itself, within the budget."""
_GUESS = 1.15
"""How far above the budget a guess may be that is worth a prediction, where predictions are quick."""


@dataclass
class Search:
    """What fits a budget, beside `held` bytes of weights and more, a clip of `clip` bytes and its `answer`."""

    predictor: Predictor
    budget: int
    cost: Cost
    held: int
    clip: int
    answer: int
    streaming: bool
    seen: list[Group] = field(default_factory=list)

    def fastest(self, groups: Iterable[Group]) -> Plan | None:
        """The cheapest of the coarsest plans that fit; None if none does."""
        groups = [group for group in groups if group]
        self.seen += groups
        fitting = [plan for group in groups if (plan := self._coarsest(group))]
        return min(fitting, key=lambda plan: self.cost.seconds(self.predictor.needs(plan)), default=None)

    def smallest(self) -> Plan:
        """Of all groups seen, the plan that needs least; whatever the budget, it is the same."""
        best, of = Plan(peak_bytes=1 << 62), self.seen[0]
        for group in sorted(self.seen, key=lambda group: (len(group[-1].axes), self._least(group[-1]))):
            if self._least(group[-1]) < best.peak_bytes:
                best, of = min((best, of), (self.priced(group[-1]), group), key=lambda found: found[0].peak_bytes)
        for plan in of[-2::-1]:  # cut in two or three, thinner slabs may need a little more
            axis = H if H in plan.axes else T
            if 3 * plan.thickness(axis) < self.predictor.shape[axis] or self.priced(plan).peak_bytes >= best.peak_bytes:
                break
            best = self.priced(plan)
        return best

    def priced(self, plan: Plan) -> Plan:
        """The plan with its predictions."""
        needs = self.predictor.needs(plan)
        peak = with_slack(needs.peak_bytes, self.predictor.device, reuses=bool(plan.axes)) + self._beside(plan)
        there = self.held + (self._of_slab(self.clip, plan) if self.streaming else self.clip)
        return replace(
            plan,
            peak_bytes=peak,
            state_bytes=needs.state_bytes,
            budget_bytes=self.budget,
            added_bytes=min(int(peak * _KEPT), self.budget) - there,
            step_bytes=needs.step_bytes,
        )

    def _coarsest(self, group: Group) -> Plan | None:
        """The first of a group that fits.

        Tried is the first that is expected to fit, or else the thinnest, until nothing coarser is expected to.
        """
        if self._least(group[-1]) > self.budget:
            return None
        known: dict[int, Plan] = {}
        too_much, fits = -1, len(group)
        while too_much + 1 < fits:
            left = range(too_much + 1, fits)
            # one known peak alone makes guesses too large
            most = self.budget * (_GUESS if len(known) == 1 and len(group[0].axes) == 1 else 1)
            index = next((i for i in left if self._expected(group, i, known) <= most), None)
            if index is None:
                if fits < len(group):
                    break
                index = left[-1]
            known[index] = self.priced(group[index])
            too_much, fits = (too_much, index) if known[index].peak_bytes <= self.budget else (index, fits)
        return known.get(fits)

    def _expected(self, group: Group, index: int, known: dict[int, Plan]) -> float:
        """Guess a peak: all but a constant grows with the thickness, nearly in proportion."""
        plan, beside = group[index], self._beside(group[index])
        if not known:
            alone = _alone(plan)
            if alone is None:
                return float("inf") if index < len(group) - 1 else 0.0
            inner = plan.axes[1]
            whole = self.predictor.needs(replace(alone, keep="file"))
            share = plan.thickness(inner) / self.predictor.shape[inner]
            state = whole.state_bytes if plan.keep == "device" else 0
            return float(with_slack(int(whole.peak_bytes * share) + state, self.predictor.device) + beside)
        points = sorted((self._thickness(group[i]), known[i].peak_bytes - self._beside(group[i])) for i in known)
        thickness = self._thickness(plan)
        if len(points) == 1:  # of a slab of nothing there are the state and the constants
            needs = self.predictor.needs(group[next(iter(known))])
            constant = needs.code_bytes + (needs.state_bytes if plan.keep == "device" else 0)
            points.insert(0, (0, with_slack(constant, self.predictor.device)))
        (low, at_low), (high, at_high) = points[0], points[-1]
        return beside + at_high + (thickness - high) * (at_high - at_low) / (high - low)

    def _thickness(self, plan: Plan) -> int:
        """The thickness in which the plans of a group differ."""
        return plan.strip if H in plan.axes else plan.chunk

    def _least(self, plan: Plan) -> int:
        """What a plan needs at least: of a cut in two, the outer axis's state is nearly that of a sweep along it only.

        That sweep is quick to predict, and mostly was.
        """
        alone = _alone(plan)
        if alone is None or plan.keep != "device":
            return self._beside(plan)
        return int(self._beside(plan) + 0.9 * self.predictor.needs(alone).state_bytes)

    def _beside(self, plan: Plan) -> int:
        """What lies there beside the sweep: weights, clip and answer, or of the latter two a slab."""
        if self.streaming:  # the answer before is at hand still, and strips of the next are gathered
            return self.held + self._of_slab(self.clip + len(plan.axes) * self.answer, plan)
        return self.held + self.clip + (self.answer if plan.axes else 0)  # a whole pass makes its answer itself

    def _of_slab(self, nbytes: int, plan: Plan) -> int:
        return nbytes * plan.chunk // self.predictor.shape[T]


def _alone(plan: Plan) -> Plan | None:
    """Of a plan that cuts two axes, the one that cuts only the outer."""
    if len(plan.axes) < 2:
        return None
    outer = plan.axes[0]
    return Plan((outer,), chunk=plan.chunk if outer == T else 0, strip=plan.strip if outer == H else 0)


def with_slack(counted: int, device: str, *, reuses: bool = True) -> int:
    """Add to what a pass needs what cannot be counted: gaps between blocks, and what libraries keep on a CPU.

    A sweep that `reuses` memory there keeps its gaps small; a whole clip does not. What lies beside it lies there in
    one piece. Measured by `python benchmarks/budget.py`.
    """
    if device != "cpu":
        return int(counted * 1.1)
    return int(counted * (1.05 if reuses else 1.1)) + (12 << 20)
