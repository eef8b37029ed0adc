"""The optimizer of a part: AdamW, or Muon, which moves matrices along the nearest orthogonal one (Jordan et al., 2024).

    m <- beta m + (1 - beta) g,   u = orthogonal(beta m + (1 - beta) g)
    W <- (1 - lr decay) W - 0.2 lr sqrt(max(rows, columns)) u

The factor gives updates AdamW's size (arXiv:2502.16982), so both take one learning rate. orthogonal(X) makes every
singular value about 1, by steps X <- a X + (b A + c A^2) X with A = X X^T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vidlatent.nn import Conv3d
from vidlatent.train.settings import OptimizerConfig

_NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
_MOMENTUM = 0.95
_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv3d)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """The optimizer of a module's parameters that require gradients."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.betas,
        "weight_decay": config.weight_decay,
    }
    if config.name == "adamw":
        return torch.optim.AdamW(trained, **options)
    inside = {id(part.weight) for part in module.modules() if isinstance(part, _MATRICES)}
    groups = [
        {"params": [weight for weight in trained if id(weight) in inside], "matrices": True},
        {"params": [weight for weight in trained if id(weight) not in inside], "matrices": False},
    ]
    return Muon([group for group in groups if group["params"]], **options)


class Muon(torch.optim.AdamW):
    """Parameter groups with `matrices=True` by Muon, others by AdamW.

    Kernels of convolutions are matrices with one row for each output. Their state is AdamW's but the second moment.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"] if group["matrices"] else ():
                if weight.grad is not None:
                    self._turn(weight, weight.grad, group)
                    weight.grad = None  # so that AdamW leaves it alone
        super().step()
        return loss

    def _turn(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(weight)
        state["step"] += 1
        momentum = state["exp_avg"].lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM).flatten(1))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(update.view_as(weight), alpha=-0.2 * group["lr"] * max(update.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: singular values from 0.7 to 1.2, which is near enough for a direction."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = (wide / wide.norm().clamp_min(1e-7)).to(torch.bfloat16 if wide.is_cuda else wide.dtype)
    for a, b, c in _NEWTON_SCHULZ:
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide is matrix else x.T).to(matrix.dtype)
