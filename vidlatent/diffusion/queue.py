"""Frames in flight: the columns of the scheduling matrix between the first that is not clean and the last begun."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.samplers import Past, Step
from vidlatent.diffusion.schedule import Schedule
from vidlatent.errors import InputError


class Queue:
    """Latents `z` `(B, C, n, h, w)` of frames `front` to `front + n`, after `passes` rows of the schedule.

    `limit` frames enter in all (None: no end). `empty` has the shape of `z` with no frames.
    """

    def __init__(self, schedule: Schedule, limit: int | None, empty: Tensor) -> None:
        if schedule.block is None and limit is None:
            raise InputError("a full sequence has an end: give num_frames")
        self.schedule, self.limit = schedule, limit
        self.block = schedule.block or limit or 1
        self.grid = schedule.grid
        self.front = self.passes = 0
        self.z, self.past = empty, Past()

    @property
    def stop(self) -> int:
        """The frame that enters next."""
        return self.front + self.z.shape[2]

    @property
    def done(self) -> bool:
        """Whether every frame has left."""
        return self.limit is not None and self.front >= self.limit

    def admit(self, draw: Callable[[int, int], Tensor]) -> None:
        """Let in the frames whose first pass it is, from `draw(start, stop)`."""
        start = self.stop
        begun = takewhile(self._begins, count(start))
        stop = max(begun, default=start - 1) + 1
        if stop > start:
            self.z = torch.cat([self.z, draw(start, stop)], 2)
            self.past = self.past.moved(0, stop - start)

    def levels(self, *, after: int = 0) -> Tensor:
        """Levels `(n,)` of the frames in flight now, or `after` further passes."""
        passes = self.passes + after
        steps = [self.schedule.level(i // self.block, passes) for i in range(self.front, self.stop)]
        return self.grid[steps]

    def advance(self, z: Tensor, past: Past) -> Tensor:
        """Take the frames after a pass; those that are clean now leave and are returned."""
        self.passes += 1
        clean = sum(self.schedule.level(i // self.block, self.passes) == 0 for i in range(self.front, self.stop))
        done, self.z = z.tensor_split([clean], 2)
        self.past, self.front = past.moved(clean, 0), self.front + clean
        return done

    def fill(self, base: Tensor, draw: Callable[[int, int], Tensor]) -> None:
        """Start full, of a clip's frames at the levels that the queue has when its first frame is one step from clean.

        The last places hold the clip, those before its first frame again (FIFO, arXiv:2405.11473).
        """
        self.passes = self.schedule.steps - 1
        self.admit(draw)
        surplus = self.z.shape[2] - base.shape[2]
        frames = base[:, :, [max(0, i - surplus) for i in range(self.z.shape[2])]].to(self.z)
        self.z = torch.lerp(frames, self.z, self.levels().to(self.z)[None, None, :, None, None])

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers that bring the queue back bit for bit."""
        past = [[step.t, step.z, step.clean] for step in self.past.steps]
        return {"z": self.z, "past": past, "front": self.front, "passes": self.passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.z, self.front, self.passes = state["z"], state["front"], state["passes"]
        self.past = Past(tuple(Step(*parts) for parts in state["past"]))

    def _begins(self, frame: int) -> bool:
        inside = self.limit is None or frame < self.limit
        return inside and self.schedule.start(frame // self.block) <= self.passes
