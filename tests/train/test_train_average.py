"""Averages of weights against their definitions."""

import pytest
import torch
from torch import nn

from vidlatent.train.average import Average, decay_at, power_gamma
from vidlatent.train.settings import AverageConfig, OptimizerConfig


def test_the_constant_profile_is_an_exponential_average() -> None:
    module, average = nn.Linear(1, 1, bias=False), None
    want = None
    for step in range(1, 30):
        nn.init.constant_(module.weight, step)
        average = average or Average(module, AverageConfig(decay=0.9))
        average.update(module)
        decay = min(0.9, (1 + step) / (10 + step))
        want = float(step) if want is None else decay * want + (1 - decay) * step
    assert average is not None
    assert average.weights["weight"].item() == pytest.approx(want, rel=1e-5)


def test_the_power_profile_weights_step_t_by_t_to_the_gamma() -> None:
    config, steps = AverageConfig(profile="power", length=0.1), 200
    gamma = power_gamma(0.1)
    assert (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5) == pytest.approx(0.1, rel=1e-6)
    shares = [1.0]
    for step in range(2, steps + 1):
        shares = [share * decay_at(config, step) for share in shares] + [1 - decay_at(config, step)]
    want = torch.arange(1, steps + 1).double() ** gamma
    got = torch.tensor(shares, dtype=torch.double)
    times = torch.arange(1, steps + 1) / steps
    mean = (got * times).sum()
    assert float(((times - mean) ** 2 * got).sum() ** 0.5) == pytest.approx(0.1, rel=0.05)
    assert torch.allclose(got / got.sum(), want / want.sum(), atol=2e-3)


def test_inside_applied_the_module_holds_the_average() -> None:
    module = nn.Linear(2, 1)
    average = Average(module, AverageConfig())
    with torch.no_grad():
        module.weight.add_(1)
    own, before = module.weight.clone(), average.weights["weight"]
    with average.applied(module):
        assert torch.equal(module.weight, before)
        assert not torch.equal(before, own)
    assert torch.equal(module.weight, own)


def test_learning_rates_warm_up_and_fall() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="cosine", final_share=0.1)
    assert config.rate(0, 100) == pytest.approx(0.1, rel=1e-3)
    assert config.rate(9, 100) == pytest.approx(0.98, rel=2e-2)
    assert config.rate(50, 100) == pytest.approx(0.55)
    assert config.rate(99, 100) == pytest.approx(0.1, abs=1e-3)
    assert OptimizerConfig(learning_rate=0.5).rate(77, 100) == 0.5
