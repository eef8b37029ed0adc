"""What a training run is made of, for autoencoders and diffusion models alike: the loop knows nothing but this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vidlatent.train.settings import OptimizerConfig

Models = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Part:
    """A module that is trained, how it is optimised, and whether its average is kept and is what is exported.

    Its parameters that require no gradient are left alone.
    """

    module: nn.Module
    optimizer: OptimizerConfig
    averaged: bool = False


@dataclass(frozen=True)
class Loss:
    """A scalar to descend by the optimizer of `part`; `logs` are written down beside it."""

    part: str
    value: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)


class Batches(Protocol):
    """An endless iterable of batches (dicts of tensors and lists) that can go on where it was.

    `state_dict` is JSON: it says what was taken, not what was prefetched.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Task(Protocol):
    """One kind of training. Methods are called in the order in which they stand here."""

    def begin(self, stage: int) -> None:
        """Get ready for a stage: freeze and thaw, refresh what starts anew. Called for the resumed stage alone."""

    def parts(self) -> dict[str, Part]:
        """What this stage trains, in an order that is always the same."""

    def data(self, stage: int, *, rank: int, world: int) -> Batches:
        """The batches of process `rank` of `world`, the same for the same arguments."""

    def step(self, models: Models, batch: Any, step: int) -> Iterator[Loss]:
        """The losses of a batch, one after the other; each is descended before the next is asked for.

        `models` are the parts, wrapped as the machine needs; `step` counts optimizer steps in this stage. Gradients of
        a loss reach the parameters of its part only. Random numbers may come from torch, numpy and random: all are
        seeded by the step.
        """

    def evaluate(self, models: Models, folder: Path | None) -> dict[str, float]:
        """Measure, and leave samples in `folder` (which does not exist yet); other processes than the first get None.

        Parts with an average hold it here.
        """

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        """Write what was trained for use, at `path` with a suffix added; `weights` are the parts' state dicts.

        They are averages where there are any.
        """
