"""Whole models: random encoders with random decoders, random shapes, random partitions, every order of axes."""

import math
import random
from collections.abc import Iterable, Sequence

import pytest
import torch
from random_models import Builder
from sweep_helpers import ORDERS, TOLERANCE, drive, random_like

from vidlatent.nn import Chain, FirstFrame, FrameAttention, GroupNorm, Residual, TemporalAttention
from vidlatent.streaming import Plan, run

FEW, MANY = 40, 400


def cut(length: int, rng: random.Random) -> list[int]:
    points = sorted(rng.randint(0, length) for _ in range(rng.randint(0, 5)))
    return [b - a for a, b in zip([0, *points], [*points, length], strict=True)]


def prepare(seed: int, dtype: torch.dtype) -> tuple[Chain, torch.Tensor, random.Random]:
    rng = random.Random(seed + 10**6)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Builder(seed).autoencoder().to(dtype).requires_grad_(False)
    shape = [rng.choice([1, 1, 2]), 3, rng.randint(1, 11), rng.randint(4, 18), rng.choice([4, 6, 8])]
    return model, random_like(torch.empty(shape, dtype=dtype), seed), rng


def worst_error(seed: int, dtype: torch.dtype, orders: Iterable[Sequence[int]], partitions: int) -> float:
    model, x, rng = prepare(seed, dtype)
    want, worst = model(x), 0.0
    scale = want.abs().max().item() if want.numel() else 1.0
    for order in orders:
        for _ in range(partitions):
            cuts, inner = cut(x.shape[order[0]], rng), rng.randint(1, x.shape[order[-1]])
            got = drive(model, x, order, cuts, inner, finish=rng.random() < 0.5)
            where = f"seed {seed}, axes {order}, slabs {cuts}, inner slabs of {inner}"
            assert got.shape == want.shape, where
            error = (got - want).abs().max().item() / scale if want.numel() else 0.0
            assert not math.isnan(error), where
            assert error <= TOLERANCE[dtype], f"{where}: relative error {error:.1e}"
            worst = max(worst, error)
    return worst


@pytest.mark.parametrize("seed", range(FEW))
def test_a_random_autoencoder_sweeps_exactly(seed: int) -> None:
    worst_error(seed, torch.float64, ORDERS, 2)


@pytest.mark.parametrize("seed", range(0, FEW, 4))
def test_a_random_autoencoder_sweeps_exactly_in_float32(seed: int) -> None:
    worst_error(seed, torch.float32, ORDERS, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_many_random_autoencoders_sweep_exactly(seed: int) -> None:
    worst_error(seed, torch.float64, ORDERS, 4)
    worst_error(seed, torch.float32, ORDERS, 1)


def test_the_models_of_the_short_run_hold_what_they_should() -> None:
    samples = [prepare(seed, torch.float32)[:2] for seed in range(FEW)]
    kinds = [{type(part) for part in model.modules()} for model, _ in samples]
    for kind in (FirstFrame, FrameAttention, GroupNorm, Residual, TemporalAttention):
        assert sum(kind in model for model in kinds) >= FEW // 8, kind
    assert {Builder(seed).style for seed in range(FEW)} == {"causal", "centred", "mixed"}
    answers = [model(x) for model, x in samples]
    assert sum(not answer.numel() for answer in answers) <= FEW // 8  # a clip too short for its model proves little


@pytest.mark.parametrize("seed", range(0, FEW, 8))
def test_the_plan_of_the_engine_is_no_part_of_the_answer(seed: int) -> None:
    model, x, rng = prepare(seed, torch.float64)
    want = model(x)
    for order in ORDERS:
        plan = Plan(order, chunk=rng.randint(1, 4), strip=rng.randint(1, 6))
        got = run(model, x, plan, torch.full_like(want, math.nan))
        assert not want.numel() or (got - want).abs().max() <= 1e-12 * want.abs().max(), plan
