"""Latent frames to the bytes of a segment, and any run of frames back out of a shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.latents.dataset import tar
from vidlatent.latents.dataset.folder import Folder
from vidlatent.latents.dataset.index import Entry
from vidlatent.latents.dataset.settings import DatasetSettings
from vidlatent.latents.dataset.stats import ChannelStats
from vidlatent.latents.dataset.tar import bytes_of
from vidlatent.latents.values import TYPES, frames_first, from_codes, to_codes, to_stored


def cut(pieces: Tensor | Iterable[Tensor], settings: DatasetSettings, segment_frames: int) -> Iterator[Tensor]:
    """Bring latents, whole or piece by piece, to segments (t, C, h, w) of `segment_frames`, the last one shorter.

    Raises:
        InputError: A shape is wrong, or not what came before.
    """
    held: list[Tensor] = []
    count = 0
    for piece in [pieces] if isinstance(pieces, Tensor) else pieces:
        frames = frames_first(piece, settings.stored_channels)
        if held and frames.shape[1:] != held[0].shape[1:]:
            raise InputError(f"latent frames were {tuple(held[0].shape[1:])} and now are {tuple(frames.shape[1:])}")
        held.append(frames)
        count += len(frames)
        while count > segment_frames:
            joined = torch.cat(held)
            yield joined[:segment_frames]
            held = [joined[segment_frames:]]
            count -= segment_frames
    if count:
        yield torch.cat(held)


def pack(frames: Tensor, settings: DatasetSettings, *, where: str, labels: dict[str, str]) -> tuple[bytes, int, Tensor]:
    """A segment's safetensors file, the byte in it where the frames begin, and the values that a reader will get.

    Raises:
        InputError: A value is not finite in the stored type; the message begins with `where`.
    """
    labels = {"fingerprint": settings.fingerprint, "kind": settings.kind, "dtype": settings.dtype, **labels}
    if settings.dtype != "int8":
        stored = to_stored(frames, settings.dtype, where=where)
        payload, data = tar.pack_segment({settings.kind: stored}, labels)
        return payload, data, stored
    codes, scale, offset = to_codes(to_stored(frames, "float32", where=where))
    payload, data = tar.pack_segment({"offset": offset, "scale": scale, settings.kind: codes}, labels)
    return payload, data, from_codes(codes, scale, offset)


def read_type(settings: DatasetSettings) -> torch.dtype:
    """Type of latents as they are read: the stored one, float32 where that is int8."""
    return TYPES.get(settings.dtype, torch.float32)


def levels(folder: Folder, name: str, data: int, channels: int) -> tuple[Tensor, Tensor]:
    """Scale and offset of an int8 segment; `pack` puts offset, then scale, just before the codes."""
    both = np.empty(8 * channels, np.uint8)
    folder.read_into(name, data - len(both), both)
    offset, scale = torch.from_numpy(both.view("<f4")).split(channels)
    return scale, offset


def stats_of(folder: Folder, name: str, entries: Iterable[Entry], settings: DatasetSettings) -> ChannelStats:
    """Statistics of clips read back from a shard: bit for bit what the writer of these clips had."""
    total = ChannelStats(int(settings.latent_spec["channels"]))
    for entry in entries:
        clip = ChannelStats(total.channels)
        for segment in entry.segments:
            shape = (segment.frames, *entry.shape)
            frames = torch.empty(shape, dtype=torch.int8 if settings.dtype == "int8" else read_type(settings))
            folder.read_into(name, segment.data, bytes_of(frames))
            if settings.dtype == "int8":
                frames = from_codes(frames, *levels(folder, name, segment.data, entry.shape[0]))
            clip.update(frames)
        total.merge(clip)
    return total
