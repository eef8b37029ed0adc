"""Muon against its equations, and beside AdamW in one optimizer."""

import copy

import pytest
import torch
from torch import nn

from vidlatent.nn import Conv3d
from vidlatent.train.optimizers import Muon, make_optimizer, orthogonal
from vidlatent.train.settings import OptimizerConfig


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 5)).double()


def gradients(module: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for weight in module.parameters():
        weight.grad = torch.randn_like(weight)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8), (1, 7), (64, 96)])
def test_singular_values_become_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ orthogonal(matrix) @ vt.T
    values = rotated.diagonal()
    assert (rotated - torch.diag(values)).abs().max() < 1e-10
    strong = s > 0.1 * s.max()
    assert values[strong].min() > 0.6
    assert values.max() < 1.3


def test_matrices_take_orthogonal_steps_of_the_size_of_adamws() -> None:
    module = network()
    optimizer = make_optimizer(module, OptimizerConfig(name="muon", learning_rate=0.1, weight_decay=0.2))
    gradients(module, 1)
    before = copy.deepcopy(module)
    first, kernel = module[3].weight.grad.clone(), module[0].weight.grad.flatten(1).clone()
    optimizer.step()
    for index, gradient in ((3, first), (0, kernel)):
        old = before[index].weight.detach().flatten(1)
        moved = module[index].weight.detach().flatten(1) - (1 - 0.1 * 0.2) * old
        wanted = -0.2 * 0.1 * max(gradient.shape) ** 0.5 * orthogonal(gradient)
        torch.testing.assert_close(moved, wanted, rtol=1e-9, atol=1e-12)  # any multiple of it has one orthogonal part


def test_everything_else_is_adamws() -> None:
    module, other = network(), network()
    options = {"learning_rate": 0.1, "weight_decay": 0.2, "betas": (0.8, 0.9)}
    muon = make_optimizer(module, OptimizerConfig(name="muon", **options))
    adamw = make_optimizer(other, OptimizerConfig(**options))
    assert isinstance(muon, Muon)
    for step in range(3):
        for each, optimizer in ((module, muon), (other, adamw)):
            gradients(each, step)
            optimizer.step()
    for index, name in ((0, "bias"), (2, "weight"), (2, "bias"), (3, "bias")):
        torch.testing.assert_close(getattr(module[index], name), getattr(other[index], name))
    assert (module[3].weight - other[3].weight).abs().max() > 1e-2


def test_it_goes_on_from_its_state() -> None:
    module = network()
    config = OptimizerConfig(name="muon", learning_rate=0.1)
    optimizer = make_optimizer(module, config)
    gradients(module, 1)
    optimizer.step()
    again = copy.deepcopy(module)
    resumed = make_optimizer(again, config)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, chosen in ((module, optimizer), (again, resumed)):
        gradients(each, 2)
        chosen.step()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))


def test_frozen_weights_stay() -> None:
    module = network()
    module[0].requires_grad_(False)
    optimizer = make_optimizer(module, OptimizerConfig(name="muon"))
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert not any(id(weight) in held for weight in module[0].parameters())


def test_weights_without_a_gradient_stay_and_so_does_nothing() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    make_optimizer(module, OptimizerConfig(name="muon", learning_rate=0.1, weight_decay=0.2)).step()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_kernels_of_our_convolutions_are_matrices() -> None:
    conv = Conv3d(3, 8)
    groups = make_optimizer(conv, OptimizerConfig(name="muon")).param_groups
    assert [group["matrices"] for group in groups for weight in group["params"] if weight is conv.weight] == [True]
