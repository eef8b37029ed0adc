"""Samplers as pure functions of frames that are each at a level of their own.

    z_t = (1 - t) z_0 + t eps,   v = eps - z_0,   z_0 = z - t v,   eps = z + (1 - t) v,   lambda = log((1 - t) / t)
    Euler      z' = z + (t' - t) v
    Heun       z' = z + (t' - t) (v + v_2) / 2,   v_2 the velocity at Euler's answer
    DPM++(2M)  z' = (t'/t) z + (1 - t'/t) (z_0 + (z_0 - z_0^before) (lambda' - lambda) / 2 (lambda - lambda^before))
    UniPC(2)   the same after z was corrected by the model's answer at z itself

A sampler is called with `predict(z, t) -> v`, latents `z` `(B, C, t, h, w)`, levels `t` and `t_next <= t` `(B, t)`, the
`Past` it returned before (None at first) and a generator; it returns `z` at `t_next` and its past. Frames with
`t_next = t` come back as they were. A sampler keeps nothing itself: a past moves along with its frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vidlatent.diffusion.noise import per_frame

Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """A step taken from latents `z` at levels `t` `(B, t)`, where the model predicted `clean`; t = 0 where none was."""

    t: Tensor
    z: Tensor
    clean: Tensor


@dataclass(frozen=True)
class Past:
    """Steps that a multistep sampler looks back at, the latest first."""

    steps: tuple[Step, ...] = ()

    def moved(self, leave: int, enter: int) -> Past:
        """The past of a queue whose first frames left, and behind which new ones without a past have entered."""

        def move(part: Tensor, axis: int) -> Tensor:
            shape = list(part.shape)
            shape[axis] = enter
            return torch.cat([part.narrow(axis, leave, part.shape[axis] - leave), part.new_zeros(shape)], axis)

        return Past(tuple(Step(move(s.t, 1), move(s.z, 2), move(s.clean, 2)) for s in self.steps))


class Sampler(Protocol):
    """See the module."""

    def __call__(
        self,
        predict: Predict,
        z: Tensor,
        t: Tensor,
        t_next: Tensor,
        past: Past | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Past]: ...


def euler(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    t_next: Tensor,
    past: Past | None = None,  # noqa: ARG001 - it needs none
    *,
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> tuple[Tensor, Past]:
    """First order, one evaluation a step."""
    return z + per_frame(t_next - t, z) * predict(z, t), Past()


def heun(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    t_next: Tensor,
    past: Past | None = None,  # noqa: ARG001
    *,
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> tuple[Tensor, Past]:
    """Second order, two evaluations a step; frames that become clean take Euler's step, as in EDM."""
    velocity = predict(z, t)
    ahead = z + per_frame(t_next - t, z) * velocity
    if not bool((t_next > 0).any()):
        return ahead, Past()
    mean = (velocity + predict(ahead, t_next)) / 2
    return torch.where(per_frame(t_next, z) > 0, z + per_frame(t_next - t, z) * mean, ahead), Past()


def dpmpp_2m(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    t_next: Tensor,
    past: Past | None = None,
    *,
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> tuple[Tensor, Past]:
    """Second order, one evaluation a step (arXiv:2211.01095, algorithm 2)."""
    clean = z - per_frame(t, z) * predict(z, t)
    before = past.steps[:1] if past else ()
    return _exponential_step(z, clean, before, t, t_next), Past((Step(t, z, clean),))


def unipc(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    t_next: Tensor,
    past: Past | None = None,
    *,
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> tuple[Tensor, Past]:
    """Order two with its corrector, one evaluation a step (arXiv:2302.04867, B(h) = e^h - 1)."""
    clean = z - per_frame(t, z) * predict(z, t)
    before = past.steps if past else ()
    if before:
        z = _corrected(z, clean, t, before)
    return _exponential_step(z, clean, before[:1], t, t_next), Past((Step(t, z, clean), *before[:1]))


def _exponential_step(z: Tensor, clean: Tensor, before: tuple[Step, ...], t: Tensor, t_next: Tensor) -> Tensor:
    """`z' = (t'/t) z + (1 - t'/t) D`; `D` looks one step back where there was one and z' is not yet clean."""
    ratio = _ratio(t_next, t)
    ahead = clean
    if before:
        known = (before[0].t > t) & (before[0].t < 1) & (t_next > 0) & (t_next < t)
        h, h_before = _lambda(t_next, known) - _lambda(t, known), _lambda(t, known) - _lambda(before[0].t, known)
        share = torch.where(known, h / (2 * h_before).masked_fill(~known, 1), 0.0)
        ahead = clean + per_frame(share, z) * (clean - before[0].clean)
    return per_frame(ratio, z) * z + per_frame(1 - ratio, z) * ahead


def _corrected(z: Tensor, clean: Tensor, t: Tensor, before: tuple[Step, ...]) -> Tensor:
    """The last step once more, now that its end is known: UniC-2, or UniC-1 where only one step was taken."""
    last, first = before[0], before[-1]
    known = (last.t > t) & (t > 0)
    older = known & (first.t > last.t) & (first.t < 1) & (last.t < 1)
    finite = known & (last.t < 1)
    h = torch.where(finite, _lambda(t, finite) - _lambda(last.t, finite), 1.0)
    phi_2 = torch.expm1(-h) / -h - 1
    phi_3 = phi_2 / -h - 0.5
    b_1, b_2 = phi_2 / torch.expm1(-h), 2 * phi_3 / torch.expm1(-h)
    r = torch.where(older, (_lambda(first.t, older) - _lambda(last.t, older)) / h, -1.0)
    back = torch.where(older, (b_1 - b_2) / (1 - r), 0.0)
    end = torch.where(finite, b_1 - back, 0.5)
    ahead = last.clean + per_frame(back / r, z) * (first.clean - last.clean) + per_frame(end, z) * (clean - last.clean)
    ratio = _ratio(t, last.t.masked_fill(~known, 1))
    again = per_frame(ratio, z) * last.z + per_frame(1 - ratio, z) * ahead
    return torch.where(per_frame(known, z) > 0, again, z)


def _lambda(t: Tensor, where: Tensor) -> Tensor:
    """`log((1 - t) / t)` where asked, 0 elsewhere."""
    t = t.masked_fill(~where, 0.5)
    return torch.log((1 - t) / t)


def _ratio(t_next: Tensor, t: Tensor) -> Tensor:
    """`t_next / t`, and 1 for clean frames."""
    return torch.where(t > 0, t_next / t.masked_fill(t <= 0, 1), 1.0)
