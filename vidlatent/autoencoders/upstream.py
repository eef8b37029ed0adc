"""What published code computes where that is not the clip as a whole: chunks of frames, and blended tiles."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vidlatent.autoencoders.tiles import Blocks, Run, Runs, Scale, Tiles, in_blocks, in_runs, in_tiles
from vidlatent.nn import GroupNorm
from vidlatent.streaming import H, SlabStream, Sweepable, T
from vidlatent.streaming.planner import parse_bytes

if TYPE_CHECKING:
    from vidlatent.autoencoders.base import Autoencoder

Policy = Literal["exact", "native", "upstream"]
"""The clip as a whole; as published code takes it by itself; with published code's tiles as well."""

Direction = Literal["encode", "decode"]


@dataclass(frozen=True)
class Chunks:
    """`size` latents at a time, one more in the first: convolutions remember, norms over the clip do not.

    What remains is a last chunk of its own, or with `remainder="first"` joins the first.
    """

    size: int
    remainder: Literal["first", "last"] = "last"

    def split(self, num_frames: int, stride: int) -> list[int]:
        """Frames of each chunk, `stride` of them a latent; the first frame is single where `stride` is not 1."""
        size = self.size * stride
        if self.remainder == "first":
            count = max(num_frames // size, 1)
            return [num_frames - (count - 1) * size, *[size] * (count - 1)]
        first = min(num_frames, size + 1)
        whole, rest = divmod(num_frames - first, size)
        return [first, *[size] * whole, *[rest] * (rest > 0)]


@dataclass(frozen=True)
class Upstream:
    """How a family is published: `always` is how clips are taken by themselves, `tiles` what `enable_tiling()` adds.

    `encoder_tiles` are those of the encoder, where they differ, and `tiled_runs` how frames are taken where tiles are
    on. `chunks_equal` says that what can be turned on takes frames in chunks that make no difference. Where there is
    nothing to turn on, `without_tiles` says why.
    """

    always: Runs | Chunks | Blocks | None = None
    tiles: Tiles | None = None
    encoder_tiles: Tiles | None = None
    tiled_runs: Runs | None = None
    chunks_equal: bool = False
    without_tiles: str = "published code has no tiles"

    @property
    def has_tiles(self) -> bool:
        """Whether published code cuts a clip, by itself or when told to, for less memory."""
        return self.tiles is not None or self.chunks_equal or isinstance(self.always, Blocks)

    def differs(self, policy: Policy) -> bool:
        """Whether `policy` is not the whole clip."""
        return policy != "exact" and (self.always is not None or (policy == "upstream" and self.tiles is not None))

    def tiles_for(self, direction: Direction) -> Tiles | None:
        """The tiles of "encode" or "decode"."""
        return (self.encoder_tiles or self.tiles) if direction == "encode" else self.tiles

    def along_time(self, policy: Policy) -> Runs | Chunks | Blocks | None:
        """How frames are taken."""
        return (self.tiled_runs if policy == "upstream" else None) or self.always


@torch.no_grad()
def run_as_published(
    ae: Autoencoder, direction: Direction, x: Tensor, memory: int | str | None, policy: Policy
) -> Tensor:
    """Moments of a video, or the video of latents, as published code computes them.

    Within `memory`, that is clip, answer, tiles that wait for their neighbours, and one pass at a time.
    """
    always = ae.upstream.along_time(policy)
    tiles = ae.upstream.tiles_for(direction) if policy == "upstream" else None
    budget = None if memory is None else parse_bytes(memory)
    t, h, w = (Scale(s, 1) if direction == "encode" else Scale(1, s) for s in ae.latent_spec.stride)
    if isinstance(always, Chunks):
        run: Run = partial(_in_chunks, ae, direction, budget, always)
    else:
        run = partial(_one_pass, ae, direction, budget)
    if tiles is not None:
        run = partial(_in_tiles, ae, direction, tiles, (h, w), run)
    if isinstance(always, Blocks):
        out = ae.room_for(direction, x)
        return in_blocks(x, out, always, (t, h, w), _beside(x.nbytes + out.nbytes, run))
    if isinstance(always, Runs) and x.shape[T] > always.size * t.before:
        out = ae.room_for(direction, x)
        return in_runs(x, out, always, t, _beside(x.nbytes + out.nbytes, run))
    return run(x, 0)


def _beside(held: int, run: Run) -> Run:
    return lambda part, more: run(part, held + more)


def _one_pass(ae: Autoencoder, direction: Direction, budget: int | None, x: Tensor, held: int) -> Tensor:
    return ae.run_whole(direction, x, ae.plan(tuple(x.shape), budget, direction, held_bytes=held))


def _in_tiles(
    ae: Autoencoder, direction: Direction, tiles: Tiles, scales: tuple[Scale, Scale], run: Run, x: Tensor, held: int
) -> Tensor:
    """In tiles, if the clip is large."""
    beyond = tiles.beyond or tiles.size
    if all(n <= size * scale.before for n, size, scale in zip(x.shape[H:], beyond, scales, strict=True)):
        return run(x, held)
    out = ae.room_for(direction, x)
    return in_tiles(x, out, tiles, scales, _beside(held + x.nbytes + out.nbytes, run))


def _in_chunks(
    ae: Autoencoder, direction: Direction, budget: int | None, chunks: Chunks, x: Tensor, held: int
) -> Tensor:
    """One sweep along time, whose norms see a chunk."""
    spec, frames, stride = ae.latent_spec, x.shape[T], 1
    if direction == "encode":
        frames, stride = spec.num_frames(spec.num_latent_frames(frames)), spec.stride[0]
    sizes = chunks.split(frames, stride)
    module, out = with_closed_norms(ae.tree(direction)), ae.room_for(direction, x)
    plan = ae.plan(tuple(x.shape), budget, direction, held_bytes=held, chunk=max(sizes))
    stream, start, done = SlabStream(module, plan), 0, 0
    for size in sizes:
        part = x[:, :, start : start + size]  # the last may be shorter: it is fitted inside
        start += size
        piece = stream.push(ae.prepare(part), last=start >= x.shape[T])
        out[:, :, done : done + piece.shape[T]] = piece
        done += piece.shape[T]
    return out


_CLOSED: weakref.WeakKeyDictionary[Sweepable, Sweepable] = weakref.WeakKeyDictionary()


def with_closed_norms(module: Sweepable) -> Sweepable:
    """The same module with the same weights, whose norms over the clip are over each slab of frames."""
    known = _CLOSED.get(module)
    if known is None or [*map(id, _tensors(known))] != [*map(id, _tensors(module))]:
        known = copy.deepcopy(module, {id(tensor): tensor for tensor in _tensors(module)})
        for norm in known.modules():
            if isinstance(norm, GroupNorm) and T in norm.axes:
                norm.axes = (H,)
        _CLOSED[module] = known
    return known


def _tensors(module: Sweepable) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
