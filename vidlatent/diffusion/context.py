"""What a clip is conditioned on: a class, an action for each latent frame, text features."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vidlatent.errors import InputError


@dataclass(frozen=True)
class Context:
    """Conditions of a batch; each is optional, and absent ones are the model's learned null.

    labels   (B,) integers below `num_classes`.
    actions  one per latent frame: (B, t) integers below `action_dim`, or (B, t, action_dim) real vectors.
    text     (B, L, text_dim) features of any text encoder; `text_mask` (B, L), True where a token is real.
    keep     (B,), False: this sample has no conditions at all (see `drop`).
    """

    labels: Tensor | None = None
    actions: Tensor | None = None
    text: Tensor | None = None
    text_mask: Tensor | None = None
    keep: Tensor | None = None

    def drop(self, probability: float, generator: torch.Generator | None = None) -> Context:
        """Forget the conditions of each sample with this probability, as classifier-free guidance is trained."""
        given = next(x for x in (self.labels, self.actions, self.text) if x is not None)
        keep = torch.rand(len(given), generator=generator).to(given.device) >= probability
        return replace(self, keep=keep if self.keep is None else keep & self.keep)

    def frames(self, start: int, stop: int) -> Context:
        """Conditions of latent frames `start` to `stop`: actions are cut, all else holds for every frame.

        Frames before the first have its action.
        """
        if self.actions is None:
            return self
        if stop > self.actions.shape[1]:
            raise InputError(f"context.actions has {self.actions.shape[1]} frames, frame {stop - 1} is asked for")
        return replace(self, actions=self.actions[:, [max(i, 0) for i in range(start, stop)]])

    def join(self, after: Context) -> Context:
        """Conditions of these frames and of those `after`, which differ in nothing but actions."""
        if self.actions is None or after.actions is None:
            return after
        return replace(after, actions=torch.cat([self.actions, after.actions], 1))

    def repeat_frames(self, times: int) -> Context:
        """Conditions of the frames that many times in a row, as teacher forcing feeds them."""
        if self.actions is None:
            return self
        return replace(self, actions=torch.cat([self.actions] * times, 1))

    def to(self, *args: object, **kwargs: object) -> Context:
        """As `Tensor.to`, of every part; only real-valued ones change their type."""
        moved = {}
        for field in fields(self):
            part = getattr(self, field.name)
            if part is not None:
                to = part.to(*args, **kwargs)
                moved[field.name] = to if part.is_floating_point() else to.to(part.dtype)
        return Context(**moved)
