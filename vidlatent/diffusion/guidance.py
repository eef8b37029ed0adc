"""Guidance: the model's velocity, and what leads away from something worse.

    v = v(main) + sum_j scale_j (v(towards_j) - v(away_j))       where t is in the term's interval, frame by frame

    classifier-free    (w - 1) (v(context) - v(null))                                          arXiv:2207.12598
    history            (w - 1) (v(history) - v(none)),  or  w (v(history at level k) - v(none))   arXiv:2502.06764
    autoguidance       (w - 1) (v - v of a weaker model)                                       arXiv:2406.02507
    classifier         - w t / (1 - t) grad log p(y | z_t)                                     arXiv:2105.05233

The last follows from score = -eps / t and eps = z + (1 - t) v. At t = 1 latents say nothing of y and the term is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.noise import per_frame

Gradient = Callable[[Tensor, Tensor], Tensor]
"""From latents and levels to the gradient of log p(y | z_t) by the latents, of their shape."""


@dataclass(frozen=True)
class Branch:
    """One way to ask: with or without context, history clean, at a noise level or absent (None), another model."""

    conditional: bool = True
    history: float | None = 0.0
    model: Any = None


MAIN = Branch()


@dataclass(frozen=True)
class Term:
    """`scale * (towards - away)` at levels in `interval`."""

    scale: float
    away: Branch
    towards: Branch = MAIN
    interval: tuple[float, float] = (0.0, 1.0)

    def weight(self, t: Tensor) -> Tensor:
        """Its scale at levels `(B, t)`."""
        low, high = self.interval
        return torch.where((t >= low) & (t <= high), self.scale, 0.0)


@dataclass(frozen=True)
class Guidance:
    """Terms that add up; `+` joins two."""

    terms: tuple[Term, ...] = ()
    gradients: tuple[tuple[float, Gradient], ...] = ()

    def __add__(self, other: Guidance) -> Guidance:
        return Guidance(self.terms + other.terms, self.gradients + other.gradients)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Everything that may be asked, the main branch first."""
        return tuple(dict.fromkeys([MAIN, *(b for term in self.terms for b in (term.towards, term.away))]))

    def velocity(self, ask: Callable[[Branch], Tensor], z: Tensor, t: Tensor) -> Tensor:
        """The guided velocity; a branch is asked once, and only where a frame's level needs it."""
        answers: dict[Branch, Tensor] = {}

        def answer(branch: Branch) -> Tensor:
            if branch not in answers:
                answers[branch] = ask(branch)
            return answers[branch]

        velocity = answer(MAIN)
        for term in self.terms:
            weight = term.weight(t)
            if bool(weight.any()):
                velocity = velocity + per_frame(weight, z) * (answer(term.towards) - answer(term.away))
        for scale, gradient in self.gradients:
            share = torch.where(t < 1, t / (1 - t).clamp(min=1e-6), 0.0)
            velocity = velocity - scale * per_frame(share, z) * gradient(z, t)
        return velocity


def classifier_free(scale: float, *, interval: tuple[float, float] = (0.0, 1.0)) -> Guidance:
    """Away from the model without context; 1 is none. Outside of the `interval` of levels it costs nothing."""
    return Guidance((Term(scale - 1, Branch(conditional=False), interval=interval),))


def history(scale: float, *, noise: float | None = None) -> Guidance:
    """Away from the model without history; 1 is none.

    With `noise` towards a history at that level instead, which keeps motion (fractional history guidance); 0 is none.
    """
    if noise is None:
        return Guidance((Term(scale - 1, Branch(history=None)),))
    return Guidance((Term(scale, Branch(history=None), Branch(history=noise)),))


def autoguidance(weaker: Any, scale: float, *, interval: tuple[float, float] = (0.0, 1.0)) -> Guidance:
    """Away from a weaker model of the same kind (smaller, or trained less); 1 is none."""
    return Guidance((Term(scale - 1, Branch(model=weaker), interval=interval),))


def classifier(gradient: Gradient, scale: float = 1.0) -> Guidance:
    """Along the gradient of log p(y | z_t) that `gradient(z, t)` gives."""
    return Guidance(gradients=((scale, gradient),))
