"""What a rollout remembers of finished frames, of constant size, and how it asks a model that sees them.

A causal model's frames are kept as keys and values (`CachedFrames`); a model whose frames all see each other gets its
last frames again in every pass (`ShownFrames`).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vidlatent.diffusion.cache import KVCache
from vidlatent.diffusion.context import Context
from vidlatent.errors import InputError


class Memory(Protocol):
    """Finished frames, as one model sees them."""

    def velocity(self, z: Tensor, t: Tensor, context: Context | None) -> Tensor:
        """Velocity of frames in flight `(B, C, t, h, w)` at levels `(B, t)`, which follow those remembered."""
        ...

    def remember(self, z: Tensor, t: Tensor, context: Context | None) -> None:
        """Frames that follow, as latents at the levels at which they will be seen."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class CachedFrames:
    """Keys and values of finished frames of a causal `VideoDiT`."""

    def __init__(self, model: nn.Module, cache: KVCache) -> None:
        self.model, self.cache = model, cache

    def velocity(self, z: Tensor, t: Tensor, context: Context | None) -> Tensor:
        return self.model(z, t, context, cache=self.cache)

    def remember(self, z: Tensor, t: Tensor, context: Context | None) -> None:
        self.model(z, t, context, cache=self.cache, commit=True)

    def state_dict(self) -> dict[str, Any]:
        return self.cache.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.cache.load_state_dict(state)


class ShownFrames:
    """The first `sinks` and last `window` finished frames, shown to the model in front of those in flight."""

    def __init__(self, model: nn.Module, *, window: int, sinks: int = 0) -> None:
        self.model, self.window, self.sinks = model, window, sinks
        self._z: Tensor | None = None
        self._t: Tensor | None = None
        self._actions: Tensor | None = None

    def velocity(self, z: Tensor, t: Tensor, context: Context | None) -> Tensor:
        if self._z is None or self._t is None:
            return self.model(z, t, context)
        if context is not None and self._actions is not None:
            context = Context(actions=self._actions).join(context)
        shown = self._z.shape[2]
        return self.model(torch.cat([self._z, z], 2), torch.cat([self._t, t], 1), context)[:, :, shown:]

    def remember(self, z: Tensor, t: Tensor, context: Context | None) -> None:
        if not self.window and not self.sinks:
            return
        self._z, self._t = self._kept(self._z, z, 2), self._kept(self._t, t, 1)
        if context is not None and context.actions is not None:
            self._actions = self._kept(self._actions, context.actions, 1)

    def _kept(self, held: Tensor | None, new: Tensor, axis: int) -> Tensor:
        held = new.clone() if held is None else torch.cat([held, new], axis)
        excess = held.shape[axis] - self.sinks - self.window
        if excess <= 0:
            return held
        sinks, _, window = held.tensor_split([self.sinks, self.sinks + excess], axis)
        return torch.cat([sinks, window], axis)

    def state_dict(self) -> dict[str, Any]:
        return {"z": self._z, "t": self._t, "actions": self._actions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._z, self._t, self._actions = state["z"], state["t"], state["actions"]


class Partitioned(nn.Module):
    """A model of at most `frames` frames, asked window by window over longer queues (FIFO, arXiv:2405.11473).

    With `lookahead` every window but the first begins with that many frames of the one before, which are only shown:
    the last are decided with cleaner ones in sight. All windows see the latents as they were before the pass.
    """

    def __init__(self, model: nn.Module, *, frames: int, lookahead: int = 0) -> None:
        super().__init__()
        if not 0 <= lookahead < frames:
            raise InputError(f"lookahead={lookahead}: allowed is 0 to below frames={frames}")
        self.model, self.frames, self.lookahead = model, frames, lookahead

    causal = False

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.model.channels  # type: ignore[return-value]

    def forward(self, z: Tensor, t: Tensor, context: Context | None = None) -> Tensor:
        """Velocity `(B, C, t, h, w)` at levels `(B, t)`, for any number of frames."""
        total, done = z.shape[2], 0
        answers = []
        while done < total:
            stop = min(total, max(self.frames, done - self.lookahead + self.frames))
            start = max(0, stop - self.frames)
            part = context.frames(start, stop) if context else None
            answers.append(self.model(z[:, :, start:stop], t[:, start:stop], part)[:, :, done - start :])
            done = stop
        return torch.cat(answers, 2)
