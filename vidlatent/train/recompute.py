"""Gradient checkpointing: residual blocks are run again in the backward pass instead of being remembered."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidlatent.nn import Residual


def recompute_blocks(module: nn.Module) -> None:
    """From now on forget what the residual blocks in `module` compute; results and weights stay as they are."""
    for block in module.modules():
        if isinstance(block, Residual):
            block.forward = _Recomputed(block.forward)  # type: ignore[method-assign]


class _Recomputed:
    """A block's forward, remembered by its input alone."""

    def __init__(self, forward: object) -> None:
        self.forward = forward

    def __call__(self, x: Tensor, sweep: object = None) -> Tensor:
        if sweep is not None or not x.requires_grad:
            return self.forward(x, sweep)  # type: ignore[operator]
        return checkpoint(self.forward, x, use_reentrant=False)
