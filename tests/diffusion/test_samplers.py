"""Samplers against a Gaussian target, whose velocity and flow have closed forms."""

import math

import pytest
import torch
from diffusion_helpers import latents
from torch import Tensor

from vidlatent.diffusion import (
    Past,
    Sampler,
    ancestral,
    corrected,
    dpmpp_2m,
    euler,
    euler_maruyama,
    heun,
    langevin,
    per_frame,
    unipc,
)

MEAN, STD = 1.3, 0.4
SAMPLERS = {"euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m, "unipc": unipc}
STOCHASTIC = {
    "ancestral": ancestral(),
    "half ancestral": ancestral(0.5),
    "Euler-Maruyama": euler_maruyama(),
    "corrected Euler": corrected(euler, ratio=0.1),
}


def velocity(z: Tensor, t: Tensor) -> Tensor:
    """E[eps - z_0 | z_t] for z_0 ~ N(MEAN, STD^2)."""
    t = per_frame(t, z)
    variance = (1 - t) ** 2 * STD**2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / variance * (z - (1 - t) * MEAN)


def flowed(z: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """Where the probability flow of that velocity takes `z`: it scales deviations as the marginals do."""
    t, t_next = per_frame(t, z), per_frame(t_next, z)
    std, std_next = (((1 - s) ** 2 * STD**2 + s**2).sqrt() for s in (t, t_next))
    return (1 - t_next) * MEAN + std_next / std * (z - (1 - t) * MEAN)


def error(sampler: Sampler, start: list[float], stop: list[float], steps: int) -> float:
    """Largest error after that many even steps of frames from levels `start` to `stop`."""
    z, past = latents(1, 1, len(start), 2, 2), None
    first, last = (torch.tensor([levels], dtype=torch.float64) for levels in (start, stop))
    end = z
    for i in range(steps):
        t, t_next = (first + (last - first) * j / steps for j in (i, i + 1))
        end, past = sampler(velocity, end, t, t_next, past)
    return (end - flowed(z, first, last)).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("unipc", 2)])
@pytest.mark.parametrize(
    ("start", "stop"), [([0.9] * 4, [0.1] * 4), ([0.95, 0.9, 0.7, 0.5], [0.1, 0.3, 0.05, 0.2])], ids=["one", "mixed"]
)
def test_order_of_convergence(name: str, order: int, start: list[float], stop: list[float]) -> None:
    """UniPC's predictor has order 2 and its corrector gives one more, as the paper says."""
    coarse, fine = (error(SAMPLERS[name], start, stop, steps) for steps in (64, 256))
    measured = math.log(coarse / fine) / math.log(4)
    assert order - 0.1 < measured < (3.1 if name == "unipc" else order + 0.1)


@pytest.mark.parametrize(("name", "order"), [("euler", 0.95), ("heun", 1.95), ("dpmpp_2m", 1.65), ("unipc", 1.95)])
def test_from_noise_to_data(name: str, order: float) -> None:
    """At t = 1 and t = 0 lambda is infinite: the multistep samplers take first-order steps, h^2 log(1/h) in all."""
    coarse, fine = (error(SAMPLERS[name], [1.0] * 2, [0.0] * 2, steps) for steps in (64, 256))
    assert math.log(coarse / fine) / math.log(4) > order
    assert fine < {"euler": 1e-2, "heun": 1e-4, "dpmpp_2m": 1e-3, "unipc": 1e-4}[name]


@pytest.mark.parametrize("name", [*SAMPLERS, *STOCHASTIC])
def test_frames_that_do_not_move_come_back_as_they_were(name: str) -> None:
    sampler = (SAMPLERS | STOCHASTIC)[name]
    z, past = latents(1, 1, 4, 2, 2), None
    t = torch.tensor([[1.0, 0.6, 0.0, 0.3]], dtype=torch.float64)
    t_next = torch.tensor([[0.8, 0.6, 0.0, 0.0]], dtype=torch.float64)
    for _ in range(2):
        after, past = sampler(velocity, z, t, t_next, past)
        torch.testing.assert_close(after[:, :, 1:3], z[:, :, 1:3], rtol=0, atol=1e-15)
        assert after.isfinite().all()
        assert (after[:, :, [0, 3]] != z[:, :, [0, 3]]).all()


@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc"])
def test_a_past_moves_with_its_frames(name: str) -> None:
    """Frames that enter a queue one after another end as each does alone."""
    sampler, steps, frames = SAMPLERS[name], 5, 6
    grid, noise = torch.linspace(0, 1, steps + 1, dtype=torch.float64), latents(1, 1, frames, 1, 1)
    alone, past = noise, None
    for k in range(steps, 0, -1):
        t = grid[k].expand(1, frames)
        alone, past = sampler(velocity, alone, t, grid[k - 1].expand(1, frames), past)

    queue, levels, past, left = noise[:, :, :0], [], Past(), []
    for row in range(frames + steps - 1):
        if row < frames:
            queue, levels, past = torch.cat([queue, noise[:, :, row : row + 1]], 2), [*levels, steps], past.moved(0, 1)
        queue, past = sampler(velocity, queue, grid[levels][None], grid[[k - 1 for k in levels]][None], past)
        levels = [k - 1 for k in levels]
        if levels[0] == 0:
            left.append(queue[:, :, :1])
            queue, levels, past = queue[:, :, 1:], levels[1:], past.moved(1, 0)
    torch.testing.assert_close(torch.cat(left, 2), alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_reach_the_target(name: str) -> None:
    generator, steps = torch.Generator().manual_seed(0), 100
    z, past = latents(1, 1, 2, 100, 100), None
    for i in range(steps):
        t, t_next = (torch.full((1, 2), 1 - j / steps, dtype=torch.float64) for j in (i, i + 1))
        z, past = STOCHASTIC[name](velocity, z, t, t_next, past, generator=generator)
    assert z.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert z.std().item() == pytest.approx(STD, rel=0.05)


def test_noise_makes_two_runs_differ_and_a_seed_repeats_them() -> None:
    z, t = latents(1, 1, 2, 4, 4), torch.full((1, 2), 0.5, dtype=torch.float64)
    for sampler in (ancestral(), euler_maruyama()):
        runs = [sampler(velocity, z, t, t / 2, generator=torch.Generator().manual_seed(s))[0] for s in (0, 0, 1)]
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])
    plain, calm = euler(velocity, z, t, t / 2)[0], ancestral(0)(velocity, z, t, t / 2)[0]
    torch.testing.assert_close(calm, plain, rtol=0, atol=1e-15)


def test_langevin_corrects_a_wrong_spread_at_one_level() -> None:
    t = torch.full((1, 1), 0.4, dtype=torch.float64)
    std = math.sqrt(0.36 * STD**2 + 0.16)
    wrong = 0.6 * MEAN + 2 * std * latents(1, 1, 1, 100, 100)
    right = langevin(velocity, wrong, t, ratio=0.3, rounds=60, generator=torch.Generator().manual_seed(0))
    assert right.std().item() == pytest.approx(std, rel=0.06)
    assert right.mean().item() == pytest.approx(0.6 * MEAN, abs=0.03)
