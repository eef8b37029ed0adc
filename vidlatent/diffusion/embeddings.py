"""From a noise level and conditions to one vector for each latent frame.

e_i = MLP(cos(1000 t_i f_j), sin(1000 t_i f_j)) + label + action_i,   f_j = 10^(-4 j / n)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.diffusion.context import Context
from vidlatent.errors import InputError

_WAVES = 128


class TimeEmbedding(nn.Module):
    """Noise levels in [0, 1], of any shape, as vectors."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * _WAVES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        frequencies = 1e4 ** (-torch.arange(_WAVES, device=t.device, dtype=torch.float32) / _WAVES)
        angles = 1000 * t.float()[..., None] * frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1).to(next(self.parameters()).dtype))


class ContextEmbedding(nn.Module):
    """Labels and actions as one vector a frame, text as projected tokens; each with a learned null."""

    def __init__(self, dim: int, *, num_classes: int, action_dim: int, text_dim: int) -> None:
        super().__init__()
        self.num_classes, self.action_dim, self.text_dim = num_classes, action_dim, text_dim
        self.label = nn.Embedding(num_classes + 1, dim) if num_classes else None
        self.action = nn.Linear(action_dim, dim) if action_dim else None
        self.no_action = nn.Parameter(torch.zeros(dim)) if action_dim else None
        self.text = nn.Linear(text_dim, dim) if text_dim else None
        self.no_text = nn.Parameter(torch.zeros(text_dim)) if text_dim else None

    def frames(self, context: Context | None, batch: int, frames: int) -> Tensor | float:
        """What is added to each frame's embedding: `(B, 1 or t, D)`."""
        context = self._checked(context, batch, frames)
        total: Tensor | float = 0.0
        if self.label is not None:
            null = torch.full((batch,), self.num_classes, device=self.label.weight.device)
            labels = null if context.labels is None else _kept(context.keep, context.labels, null)
            total = total + self.label(labels)[:, None]
        if self.action is not None and self.no_action is not None:
            null = self.no_action.expand(batch, frames, -1)
            actions = null if context.actions is None else _kept(context.keep, self._embed(context.actions), null)
            total = total + actions
        return total

    def tokens(self, context: Context | None, batch: int) -> tuple[Tensor | None, Tensor | None]:
        """Text as `(B, L, D)` and its mask `(B, L)`; None without text conditioning, or where nothing is masked."""
        if self.text is None or self.no_text is None:
            return None, None
        if context is None or context.text is None:
            return self.text(self.no_text.expand(batch, 1, -1)), None
        return self.text(_kept(context.keep, context.text.to(self.no_text.dtype), self.no_text)), context.text_mask

    def _embed(self, actions: Tensor) -> Tensor:
        assert self.action is not None
        if actions.ndim == 2:
            actions = F.one_hot(actions, self.action_dim)
        return self.action(actions.to(self.action.weight.dtype))

    def _checked(self, context: Context | None, batch: int, frames: int) -> Context:
        context = context or Context()
        given = {"labels": context.labels, "actions": context.actions, "text": context.text}
        takes = {"labels": self.num_classes, "actions": self.action_dim, "text": self.text_dim}
        foreign = [name for name, value in given.items() if value is not None and not takes[name]]
        if foreign:
            known = ", ".join(name for name, size in takes.items() if size) or "nothing"
            raise InputError(f"context has {', '.join(foreign)}; this model is conditioned on {known}")
        for name, value in given.items():
            if value is not None and len(value) != batch:
                raise InputError(f"context.{name} is for a batch of {len(value)}, the latents are of {batch}")
        if context.actions is not None and context.actions.shape[1] != frames:
            raise InputError(f"context.actions has {context.actions.shape[1]} frames, the latents have {frames}")
        return context


def _kept(keep: Tensor | None, given: Tensor, null: Tensor) -> Tensor:
    return given if keep is None else torch.where(keep.view(-1, *[1] * (given.ndim - 1)), given, null)
