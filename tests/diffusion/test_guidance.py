"""Guidance against closed forms, and what it costs."""

import pytest
import torch
from diffusion_helpers import latents
from test_samplers import MEAN, STD, velocity
from torch import Tensor

from vidlatent.diffusion import Guidance, autoguidance, classifier, classifier_free, euler, history, per_frame
from vidlatent.diffusion.guidance import MAIN, Branch

Z, T = latents(1, 2, 3, 2, 2), torch.tensor([[0.9, 0.5, 0.1]], dtype=torch.float64)
WEAKER = object()
ANSWERS = {
    MAIN: 1.0,
    Branch(conditional=False): 0.25,
    Branch(history=None): 0.5,
    Branch(history=0.3): 0.75,
    Branch(model=WEAKER): -1.0,
}


def guided(guidance: Guidance) -> tuple[list[float], list[Branch]]:
    """The first value of each frame, and the branches that were asked."""
    asked: list[Branch] = []

    def ask(branch: Branch) -> Tensor:
        asked.append(branch)
        return torch.full_like(Z, ANSWERS[branch])

    return guidance.velocity(ask, Z, T)[0, 0, :, 0, 0].tolist(), asked


def test_each_kind_by_hand() -> None:
    assert guided(Guidance())[0] == [1, 1, 1]
    assert guided(classifier_free(3.0))[0] == [1 + 2 * 0.75] * 3
    assert guided(classifier_free(3.0, interval=(0.3, 0.7)))[0] == [1, 2.5, 1]
    assert guided(history(1.5))[0] == [0.5 + 1.5 * (1 - 0.5)] * 3
    assert guided(history(1.5, noise=0.3))[0] == [1 + 1.5 * (0.75 - 0.5)] * 3
    assert guided(autoguidance(WEAKER, 2.0))[0] == [3, 3, 3]
    assert guided(classifier_free(3.0) + history(2.0))[0] == [1 + 2 * 0.75 + 0.5] * 3


def test_nothing_is_asked_twice_or_in_vain() -> None:
    both = classifier_free(3.0) + classifier_free(2.0) + history(2.0)
    assert len(both.branches) == 3
    assert both.branches[0] == MAIN
    assert sorted(map(repr, guided(both)[1])) == sorted(map(repr, both.branches))
    assert guided(classifier_free(3.0, interval=(0.6, 0.7)))[1] == [MAIN]
    assert guided(classifier_free(1.0))[1] == [MAIN]


def test_classifier_guidance_samples_the_product() -> None:
    """p(z_0) N(MEAN, STD^2) times exp(k z_0): a Gaussian with its mean moved by k STD^2."""
    k, steps = 1.5, 400

    def gradient(z: Tensor, t: Tensor) -> Tensor:
        """Of log E[exp(k z_0) | z_t]: k times the slope of E[z_0 | z_t] in z_t."""
        s = per_frame(t, z)
        return k * (1 - s) * STD**2 / ((1 - s) ** 2 * STD**2 + s**2) * torch.ones_like(z)

    guidance, z = classifier(gradient), latents(1, 1, 1, 200, 200)
    for i in range(steps):
        t, t_next = (torch.full((1, 1), 1 - j / steps, dtype=torch.float64) for j in (i, i + 1))
        z, _ = euler(lambda z, t: guidance.velocity(lambda _: velocity(z, t), z, t), z, t, t_next)
    assert z.mean().item() == pytest.approx(MEAN + k * STD**2, abs=0.01)
    assert z.std().item() == pytest.approx(STD, rel=0.02)
    ends = torch.tensor([[1.0]], dtype=torch.float64)
    assert torch.equal(guidance.velocity(lambda _: z, z, ends), z)
