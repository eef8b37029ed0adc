"""Clips as long as you like: one matrix of noise levels walked row by row, every frame given out when it is clean.

    pass m:  z_i <- step(z_i, g[S[m, i]] -> g[S[m + 1, i]])  for all frames i in flight, each at t_i = g[S[m, i]]
    clean:   z_i leaves the queue, is remembered at level t_c (context noise), and is yielded

The queue, the memory of finished frames and the sampler's past are all of constant size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.guidance import Branch, Guidance
from vidlatent.diffusion.memory import CachedFrames, Memory, ShownFrames
from vidlatent.diffusion.noise import FreshNoise, NoiseSource, interpolate, noise_like
from vidlatent.diffusion.queue import Queue
from vidlatent.diffusion.samplers import Sampler, euler
from vidlatent.diffusion.schedule import Schedule
from vidlatent.errors import InputError

Conditions = Context | Callable[[int, int], Context | None] | None


class Rollout(Iterator[Tensor]):
    """Generate normalised latents `(B, C, n, h, w)`, yielded as they become clean; `num_frames` None never ends.

    dit            a `VideoDiT`, `Partitioned`, or an adapter of another library's transformer.
    schedule       how frames share passes: `autoregressive`, `fifo`, `rolling`, `pyramid`, `full_sequence`.
    size, batch    (h, w) of the latent grid and clips at once; those of `prompt` or `base` where one is given.
    context        conditions; actions count from the first frame of the prompt. Or a function of (start, stop).
    prompt         clean frames `(B, C, n, h, w)` to go on from (a clip, an image); they are not yielded again.
    keyframes      clean frames `(B, C, h, w)` by number, counted from the first of the prompt, that are kept as given.
    base           a clip of the model's own length that fills the queue at the start, for models of clips (FIFO).
    window, sinks  finished frames that a frame sees: the last `window` and the first `sinks`. Default: as trained.
    sink_decay     sinks become moving averages of frames that left the window (causal models).
    context_noise  level t_c at which finished and given frames are shown; sinks are shown as they are.
    noise          where starting noise comes from, for example `FreeNoise`.

    `state_dict()` brings a rollout back bit for bit, in one made with the same arguments. Raises `InputError` for what
    cannot be.
    """

    def __init__(
        self,
        dit: Any,
        *,
        schedule: Schedule,
        num_frames: int | None = None,
        size: tuple[int, int] | None = None,
        batch: int = 1,
        context: Conditions = None,
        prompt: Tensor | None = None,
        keyframes: Mapping[int, Tensor] | None = None,
        base: Tensor | None = None,
        sampler: Sampler = euler,
        guidance: Guidance | None = None,
        window: int | None = None,
        sinks: int | None = None,
        sink_decay: float | None = None,
        context_noise: float = 0.0,
        noise: NoiseSource | None = None,
        seed: int = 0,
    ) -> None:
        self.dit, self.context, self.sampler = dit, context, sampler
        self.guidance, self.noise, self.context_noise = guidance or Guidance(), noise or FreshNoise(), context_noise
        self.generator = torch.Generator().manual_seed(seed)
        self._empty = _no_frames(dit, prompt if base is None else base, batch, size)
        self._keyframes = {i: frame.to(self._empty) for i, frame in (keyframes or {}).items()}
        _check(num_frames, context_noise, self._keyframes, self._empty)
        self._prompt, self._base = prompt, base
        self._skip, self._first = self._place(schedule)
        # a queue that began full stays full, so that a model of clips always gets whole ones
        limit = None if num_frames is None or base is not None else num_frames + self._skip
        self._queue, self._left = Queue(schedule, limit, self._empty[:, :, :0]), num_frames
        self._memories = {
            branch: self._memory(branch.model or dit, schedule, window, sinks, sink_decay)
            for branch in self.guidance.branches
        }
        self._sinks = getattr(getattr(dit, "config", None), "sinks", 0) if sinks is None else sinks
        self._begun = False

    def __next__(self) -> Tensor:
        with torch.no_grad():
            if not self._begun:
                self._begin()
            while self._left != 0:
                done = self._pass()
                fresh = done[:, :, max(0, done.shape[2] - (self._queue.front - self._skip)) :][:, :, : self._left]
                if fresh.shape[2]:
                    self._left = None if self._left is None else self._left - fresh.shape[2]
                    return fresh
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers alone: `torch.save` writes them, `torch.load(weights_only=True)` reads them."""
        return {
            "queue": self._queue.state_dict(),
            "memories": [memory.state_dict() for memory in self._memories.values()],
            "noise": self.noise.state_dict(),
            "generator": self.generator.get_state(),
            "begun": self._begun,
            "left": self._left,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        if len(state["memories"]) != len(self._memories):
            raise InputError("the saved rollout was guided by other branches than this one")
        self._queue.load_state_dict(state["queue"])
        for memory, saved in zip(self._memories.values(), state["memories"], strict=True):
            memory.load_state_dict(saved)
        self.noise.load_state_dict(state["noise"])
        self.generator.set_state(state["generator"])
        self._begun, self._left = state["begun"], state["left"]

    def _place(self, schedule: Schedule) -> tuple[int, int]:
        """How many frames come out before the first new one, and the number of the first frame in the queue."""
        prompt, base = self._prompt, self._base
        if prompt is not None and base is not None:
            raise InputError("prompt goes on from a clip, base fills the queue: give one of them")
        if base is not None:
            room = schedule.room
            if not 0 < base.shape[2] <= room:
                raise InputError(f"base has {base.shape[2]} frames; this schedule's queue has room for 1 to {room}")
            return room - base.shape[2], base.shape[2] - room
        if prompt is None:
            return 0, 0
        # a causal model remembers whole blocks; the frames of an unfinished one are given within the first block
        whole = prompt.shape[2] - prompt.shape[2] % (self.dit.config.block if self.dit.causal else 1)
        given = {i: prompt[:, :, i].to(self._empty) for i in range(whole, prompt.shape[2])}
        self._keyframes = given | self._keyframes
        return prompt.shape[2] - whole, whole

    def _memory(
        self, model: Any, schedule: Schedule, window: int | None, sinks: int | None, sink_decay: float | None
    ) -> Memory:
        if model.causal:
            block = model.config.block
            if schedule.block is not None and schedule.block % block:
                raise InputError(
                    f"schedule in blocks of {schedule.block}; allowed are multiples of the model's, {block}"
                )
            cache = model.new_cache(window=window, sinks=sinks, sink_decay=sink_decay)
            if cache.window is None and self._queue.limit is None:
                raise InputError("a rollout without end would remember every frame: say with window= how many to keep")
            return CachedFrames(model, cache)
        if sink_decay is not None:
            raise InputError("sink_decay averages keys and values, which only causal models keep")
        if window is None and schedule.block is not None and schedule.lag == schedule.steps:
            raise InputError("this model's frames all see each other: say with window= how many finished ones to show")
        default = getattr(model, "lookahead", 0) or (0 if self._prompt is None else self._prompt.shape[2])
        return ShownFrames(model, window=default if window is None else window, sinks=sinks or 0)

    def _begin(self) -> None:
        if self._prompt is not None and self._first:
            block = self.dit.config.block if self.dit.causal else self._first
            for start in range(0, self._first, block):
                self._remember(self._prompt[:, :, start : start + block].to(self._empty), start)
        if self._base is not None:
            self._queue.fill(self._base, self._draw)
        self._begun = True

    def _pass(self) -> Tensor:
        """One row of the matrix; returns the frames that it made clean."""
        queue = self._queue
        queue.admit(self._draw)
        start, stop = queue.front + self._first, queue.stop + self._first
        given = torch.tensor([i in self._keyframes for i in range(start, stop)])
        t, t_next = (
            torch.where(given, self.context_noise, queue.levels(after=after))
            .to(queue.z.device)
            .expand(len(queue.z), -1)
            for after in (0, 1)
        )
        context = self._context(start, stop)

        def ask(branch: Branch, z: Tensor, t: Tensor) -> Tensor:
            return self._memories[branch].velocity(z, t, context if branch.conditional else None).to(z.dtype)

        def predict(z: Tensor, t: Tensor) -> Tensor:
            return self.guidance.velocity(lambda branch: ask(branch, z, t), z, t)

        done = queue.advance(*self.sampler(predict, queue.z, t, t_next, queue.past, generator=self.generator))
        for i in range(done.shape[2]):
            if start + i in self._keyframes:
                done[:, :, i] = self._keyframes[start + i]
        if done.shape[2] and not queue.done:
            self._remember(done, start)
        return done

    def _draw(self, start: int, stop: int) -> Tensor:
        """Noise for frames that enter the queue; given ones in its place, at the level at which they are shown."""
        z = self.noise.draw(self._empty[:, :, :1].expand(-1, -1, stop - start, -1, -1), self.generator)
        for i in range(start, stop):
            frame = self._keyframes.get(i + self._first)
            if frame is not None:
                z[:, :, i - start] = torch.lerp(frame, z[:, :, i - start], self.context_noise)
        return z

    def _remember(self, z: Tensor, start: int) -> None:
        context = self._context(start, start + z.shape[2])
        for branch, memory in self._memories.items():
            if branch.history is not None:
                is_sink = torch.arange(start, start + z.shape[2]) < self._sinks
                level = torch.where(is_sink, 0.0, self.context_noise).clamp(min=branch.history)
                t = level.to(z).expand(len(z), -1)
                shown = interpolate(z, noise_like(z, self.generator), t) if bool(level.any()) else z
                memory.remember(shown, t, context if branch.conditional else None)

    def _context(self, start: int, stop: int) -> Context | None:
        if self.context is None or isinstance(self.context, Context):
            return self.context.frames(start, stop) if self.context else None
        return self.context(start, stop)


rollout = Rollout


def _check(num_frames: int | None, context_noise: float, keyframes: Mapping[int, Tensor], empty: Tensor) -> None:
    if num_frames is not None and num_frames < 1:
        raise InputError(f"num_frames={num_frames}: allowed are numbers from 1, or None for no end")
    if not 0 <= context_noise < 1:
        raise InputError(f"context_noise={context_noise}: allowed is 0 to below 1")
    for i, frame in keyframes.items():
        if frame.shape != empty[:, :, 0].shape:
            raise InputError(f"keyframe {i} of shape {tuple(frame.shape)}; allowed is {tuple(empty[:, :, 0].shape)}")


def _no_frames(dit: Any, given: Tensor | None, batch: int, size: tuple[int, int] | None) -> Tensor:
    """One frame's worth of latents, for its shape, type and place."""
    if given is not None:
        if given.ndim != 5 or given.shape[1] != dit.channels:
            raise InputError(f"prompt or base of shape {tuple(given.shape)}; allowed is (B, {dit.channels}, t, h, w)")
        batch, size = len(given), (given.shape[3], given.shape[4])
    if size is None:
        raise InputError("give size=(h, w) of the latent grid, or a prompt")
    weight = next(dit.parameters())
    return weight.new_empty((batch, dit.channels, 1, *size), dtype=torch.promote_types(weight.dtype, torch.float32))
