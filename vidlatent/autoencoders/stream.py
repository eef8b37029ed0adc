"""Encode and decode frame by frame: a clip of any length in the memory of a slab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidlatent.streaming import Plan, SlabStream, Sweepable, T
from vidlatent.streaming.state import concat

if TYPE_CHECKING:
    from typing_extensions import Self

    from vidlatent.autoencoders.base import Autoencoder, Direction


class _FrameStream:
    """What both directions share: a sweep along T, started by the first slab, saved and restored whole.

    A context manager: leaving it forgets the state. `push` after `finish` is an error.
    """

    direction: Direction

    def __init__(self, ae: Autoencoder, plan: Plan | None, memory: int | str | None) -> None:
        if plan is not None and plan.axes[:1] != (T,):
            raise ValueError(f"a stream of frames needs a plan with T outside, got {plan!r}")
        self.ae, self.requested, self.memory = ae, plan, memory
        self._slabs: SlabStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._slabs = None

    @property
    def state_bytes(self) -> int:
        """Bytes held between two slabs."""
        return self._slabs.sweep.state_bytes if self._slabs else 0

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on in another process: save with `torch.save`, load with `weights_only=True`."""
        slabs = self._slabs
        return {
            "fingerprint": self.ae.fingerprint,
            "plan": asdict(slabs.plan) if slabs else None,
            "slabs": slabs.state_dict() if slabs else None,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, by the same plan: the results are the same bit for bit.

        Raises `ValueError` if that was with another autoencoder, by its fingerprint.
        """
        if saved["fingerprint"] != self.ae.fingerprint:
            raise ValueError(
                f"the saved stream is of autoencoder {saved['fingerprint']}, this is {self.ae.fingerprint}"
            )
        self._slabs = None
        if saved["slabs"] is not None:
            self._slabs = SlabStream(self._module, Plan(**saved["plan"]))
            self._slabs.load_state_dict(saved["slabs"])

    @property
    def _module(self) -> Sweepable:
        return self.ae.encoder if self.direction == "encode" else self.ae.decoder

    def _plan(self, slab: Tensor) -> Plan:
        if self.requested is not None:
            return self.requested
        if self.memory is None:
            return Plan((T,), chunk=slab.shape[T])
        return self.ae.plan((*slab.shape[:T], 1 << 20, *slab.shape[3:]), self.memory, self.direction, streaming=True)

    @torch.no_grad()
    def _push(self, slab: Tensor) -> Tensor:
        self.ae.check(self.direction, slab, fewest_frames=0)
        if not slab.shape[T]:  # another stream's answer, most likely, that has nothing yet
            batch, channels, _, *size = self.ae.answer_shape(self.direction, (*slab.shape[:T], 1, *slab.shape[3:]))
            return torch.empty(batch, channels, 0, *size, dtype=self.ae.dtype, device=self.ae.device)
        if self._slabs is None:
            self._slabs = SlabStream(self._module, self._plan(slab))
        slab = self.ae.prepare(slab)
        return concat([self._slabs.push(part) for part in slab.split(self._slabs.plan.chunk, T)], T)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """End the clip and return what still waited for its end, maybe nothing."""
        return self._begun().finish()

    @torch.no_grad()
    def drain(self) -> Iterator[Tensor]:
        """As `finish`, but piece by piece, none longer than a push gave: this is what a memory budget is kept with.

        Of a model that looks ahead as far as the clip is long, `finish` returns all of it at once.
        """
        yield from self._begun().drain()

    def _begun(self) -> SlabStream:
        if self._slabs is None:
            raise ValueError("nothing was pushed into this stream, so there is nothing to finish")
        return self._slabs


class EncoderStream(_FrameStream):
    """Video in, latents out; see `Autoencoder.stream_encoder`."""

    direction = "encode"

    def push(self, video: Tensor) -> Tensor:
        """Feed frames (B, 3, T, H, W) in [-1, 1]; returns moments complete so far (B, C or 2C, t, h, w), t maybe 0.

        Raises `InputError` for what `Autoencoder.encode` refuses, but no frames may come too.
        """
        return self._push(video)


class DecoderStream(_FrameStream):
    """Latents in, video out; see `Autoencoder.stream_decoder`."""

    direction = "decode"

    def __init__(
        self, ae: Autoencoder, plan: Plan | None, memory: int | str | None, *, size: tuple[int, int] | None
    ) -> None:
        super().__init__(ae, plan, memory)
        self.size = size

    def push(self, latents: Tensor) -> Tensor:
        """Feed latents (B, C, t, h, w); returns frames complete so far (B, 3, T, H, W), T maybe 0.

        Raises `InputError` for what `Autoencoder.decode` refuses, but no latents may come too.
        """
        return self._crop(self._push(latents))

    def frames(self, latents: Iterable[Tensor], num_frames: int, *, skip: int = 0) -> Iterator[Tensor]:
        """Push all pieces of `latents` and finish: frames as they are complete, so many behind the first `skip`."""
        for video in chain(map(self.push, latents), self.drain()):
            wanted = video[:, :, skip : skip + num_frames]
            skip, num_frames = max(0, skip - video.shape[T]), num_frames - wanted.shape[T]
            if wanted.shape[T]:
                yield wanted
            del video, wanted  # or they would stay while the next are made

    def finish(self) -> Tensor:
        return self._crop(super().finish())

    def drain(self) -> Iterator[Tensor]:
        yield from map(self._crop, super().drain())

    def _crop(self, video: Tensor) -> Tensor:
        video = video.clamp_(-1, 1)
        return video if self.size is None else video[..., : self.size[0], : self.size[1]]
