"""Keys and values of finished frames: the memory of a causal transformer, of constant size.

Keys are stored before rotation and turned when read, at positions counted from the oldest frame held: no position
ever grows with the clip. With no sinks this equals a banded mask over the whole clip at absolute positions.

    held      [sinks | window],  sinks = first frames for good, or an average of what left the window:
    evicted   sink <- decay * sink + (1 - decay) * evicted        (Reward Forcing's moving average, on raw keys)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from vidlatent.errors import InputError

T = TypeVar("T")


class KVCache:
    """Keys and values `(B, frames, tokens, heads, head_dim)` of every layer, frames oldest first.

    `window` latent frames are kept after `sinks` of the first; None keeps all. `sink_decay` turns sinks from the first
    frames as they were into moving averages of evicted frames, the i-th evicted going to sink i mod `sinks`.
    """

    def __init__(self, *, window: int | None = None, sinks: int = 0, sink_decay: float | None = None) -> None:
        if (window is not None and window < 0) or sinks < 0:
            raise InputError(f"window={window}, sinks={sinks}: allowed are numbers of frames from 0 (window: or None)")
        if sink_decay is not None and not 0 <= sink_decay <= 1:
            raise InputError(f"sink_decay={sink_decay}: allowed is 0 to 1, or None for sinks that stay as they were")
        self.window, self.sinks, self.sink_decay = window, sinks, sink_decay
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.evicted = 0
        self._staged: dict[int, tuple[Tensor, Tensor]] = {}
        self._constant: dict[object, tuple[object, Any]] = {}

    @property
    def frames(self) -> int:
        """Latent frames held now."""
        return next(iter(self.layers.values()))[0].shape[1] if self.layers else 0

    @property
    def num_bytes(self) -> int:
        """Memory held in keys and values of frames."""
        return sum(part.nbytes for pair in self.layers.values() for part in pair)

    def extend(self, layer: int, key: Tensor, value: Tensor, *, stage: bool) -> tuple[Tensor, Tensor]:
        """What is held of this layer with new frames behind; `stage` keeps them for `commit`."""
        if stage:
            self._staged[layer] = (key, value)
        if layer not in self.layers:
            return key, value
        held_key, held_value = self.layers[layer]
        return torch.cat([held_key, key], 1), torch.cat([held_value, value], 1)

    def constant(self, name: object, source: object, make: Callable[[], T]) -> T:
        """What does not change with the frames (text), made anew when `source` is another object."""
        made = self._constant.get(name)
        if made is None or made[0] is not source:
            made = self._constant[name] = (source, make())
        return made[1]

    def commit(self) -> None:
        """Take in what every layer staged, then evict; a pass that failed half-way leaves nothing."""
        staged, self._staged = self._staged, {}
        for layer, (key, value) in staged.items():
            self.layers[layer] = self.extend(layer, key.detach(), value.detach(), stage=False)
        excess = 0 if self.window is None else max(0, self.frames - self.sinks - self.window)
        if excess:
            self.layers = {layer: self._evict(pair, excess) for layer, pair in self.layers.items()}
            self.evicted += excess

    def _evict(self, pair: tuple[Tensor, Tensor], excess: int) -> tuple[Tensor, Tensor]:
        key, value = (self._without_oldest(part, excess) for part in pair)
        return key, value

    def _without_oldest(self, held: Tensor, excess: int) -> Tensor:
        sinks, leaving, window = held.tensor_split([self.sinks, self.sinks + excess], 1)
        if self.sink_decay is not None and self.sinks:
            sinks = sinks.clone()
            for i in range(excess):
                slot = (self.evicted + i) % self.sinks
                sinks[:, slot].lerp_(leaving[:, i], 1 - self.sink_decay)
        return torch.cat([sinks, window], 1)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers that bring the cache back bit for bit."""
        return {"layers": {layer: list(pair) for layer, pair in self.layers.items()}, "evicted": self.evicted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.layers = {int(layer): (pair[0], pair[1]) for layer, pair in state["layers"].items()}
        self.evicted = state["evicted"]
        self._staged, self._constant = {}, {}
