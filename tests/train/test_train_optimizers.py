"""Muon: matrices move along their orthogonal factor, everything else as AdamW moves it, and a saved state goes on."""

import copy

import pytest
import torch
from torch import Tensor, nn

from vidlatent.nn import Conv3d
from vidlatent.train.optimizers import Muon, make_optimizer, orthogonal
from vidlatent.train.settings import OptimizerConfig

RATE, DECAY = 1e-2, 0.1


def network() -> nn.Sequential:
    return nn.Sequential(Conv3d(3, 8), nn.SiLU(), nn.Conv3d(8, 4, 3, padding=1), nn.LayerNorm(6), nn.Linear(6, 5))


def config(name: str) -> OptimizerConfig:
    return OptimizerConfig.model_validate({"name": name, "learning_rate": RATE, "weight_decay": DECAY})


def walk(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 4, 4, 6)).square().mean().backward()
        optimizer.step()


def is_matrix(name: str) -> bool:
    return name in ("0.weight", "2.weight", "4.weight")


@pytest.mark.parametrize("shape", [(4, 4), (3, 40), (40, 3), (1, 7), (64, 96)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonal(matrix) @ v.T
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))
    assert (inside - torch.diag(inside.diagonal())).abs().max() < 1e-9
    # the smallest singular values of a nearly singular matrix are not lifted all the way in five steps
    largest = torch.linalg.svdvals(matrix) > 0.05 * torch.linalg.matrix_norm(matrix, 2)
    assert ((inside.diagonal()[largest] > 0.5) & (inside.diagonal()[largest] < 1.3)).all()


def test_the_first_step_is_the_formula_and_vectors_go_as_with_adamw() -> None:
    muon = network()
    adamw = copy.deepcopy(muon)
    before = copy.deepcopy(dict(muon.named_parameters()))
    gradients: dict[str, Tensor] = {}
    for model, name in ((muon, "muon"), (adamw, "adamw")):
        optimizer = make_optimizer(model, config(name))
        torch.manual_seed(1)
        model(torch.randn(2, 3, 4, 4, 6)).square().mean().backward()
        gradients = {key: weight.grad.clone() for key, weight in model.named_parameters() if weight.grad is not None}
        optimizer.step()
    for (key, weight), other in zip(muon.named_parameters(), adamw.parameters(), strict=True):
        if not is_matrix(key):
            torch.testing.assert_close(weight, other)
            continue
        matrix = before[key].flatten(1)
        direction = orthogonal(gradients[key].flatten(1))  # a first step's momentum is along its gradient
        wanted = (1 - RATE * DECAY) * matrix - 0.2 * RATE * max(matrix.shape) ** 0.5 * direction
        torch.testing.assert_close(weight.flatten(1), wanted, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(weight, other, atol=1e-4)


def test_a_saved_state_goes_on_as_if_it_had_not_been() -> None:
    whole = network()
    optimizer = make_optimizer(whole, config("muon"))
    assert isinstance(optimizer, Muon)
    walk(whole, optimizer, 3)
    resumed = copy.deepcopy(whole)
    again = make_optimizer(resumed, config("muon"))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, used in ((whole, optimizer), (resumed, again)):
        torch.manual_seed(5)
        walk(model, used, 3)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_frozen_parameters_and_those_without_gradient_stay() -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = make_optimizer(model, config("muon"))
    before = copy.deepcopy(model.state_dict())
    optimizer.step()
    walk(model, optimizer, 1)
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[2].weight, before["2.weight"])
