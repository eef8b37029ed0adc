"""Writing a latent file while the clip is still being encoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

from vidlatent.errors import InputError, LatentFileError
from vidlatent.files import PartialFile
from vidlatent.latents.layout import pack_header, pad_header, room_for
from vidlatent.latents.meta import LatentMeta
from vidlatent.latents.ticks import Ticks
from vidlatent.latents.values import TYPES as TYPES
from vidlatent.latents.values import frames_first, to_stored

# What the header may grow by between the first slab and the end: longer numbers, the hash, the time base.
_SPARE_BYTES = 512


class LatentWriter:
    """Append latents to a file as they come, in memory that does not grow with them (but for 8 bytes a frame of times).

    The file appears under its name, on disk and whole, when the block ends without an error; an existing one stays as
    it was until then. It is plain safetensors, readable by `safetensors.torch.load_file`: `mean` (t, C, h, w), or
    `moments` (t, 2C, h, w) where the log-variance is kept, `pts` (T,) int64 ticks of `meta.time_base` seconds, and the
    metadata as text. Values are stored as the encoder gives them, not normalised.

    `meta.dtype` is float16 unless asked otherwise: half the bytes of float32, and under 0.001 dB of what
    vidlatent-tiny reconstructs (a test holds it). Values beyond float16's 65504 are refused.

    Args:
        path: Conventionally ends in `.safetensors`; its folder must exist.
        meta: What travels with the latents. `num_frames`, `time_base`, `sha256` and `version` are filled in by
            `close`, in the attribute of the same name.
    """

    def __init__(self, path: str | os.PathLike[str], *, meta: LatentMeta) -> None:
        self._path, self.meta = Path(path), meta
        if not self._path.absolute().parent.is_dir():
            raise LatentFileError(f"{self._path}: the folder {self._path.parent} does not exist")
        if self._path.is_dir():
            raise LatentFileError(f"{self._path}: a folder has this name")
        if meta.dtype not in TYPES:
            raise InputError(f"dtype={meta.dtype!r}: expected one of {', '.join(TYPES)}")
        self._partial = PartialFile(self._path, durable=True)
        self._file: BinaryIO | None = None
        self._shape: tuple[int, ...] = ()  # of one latent frame: (C, h, w)
        self._room = 0
        self._digest = hashlib.sha256()
        self._ticks = Ticks()
        self._closed = False
        self.num_latent_frames = 0

    @property
    def num_frames(self) -> int:
        """Video frames whose times have been appended."""
        return len(self._ticks)

    def append(self, latents: Tensor | None = None, *, pts_seconds: Sequence[Fraction] = ()) -> None:
        """Append latents, or times of video frames, or both: an encoder may take frames before it gives latents.

        Args:
            latents: (1, C, t, h, w) or (t, C, h, w), t maybe 0; C is twice the channels where `meta.kind` is "moments".
            pts_seconds: One time per video frame, never decreasing; kept exactly.

        Raises:
            InputError: The shape is not what came before, or a value is not finite in the stored type.
        """
        if self._closed:
            raise InputError(f"{self._path}: this writer is closed")
        if latents is not None:
            frames = self._checked(latents)
            if len(frames):
                self._write(frames)
        self._ticks.extend(pts_seconds)

    def _checked(self, latents: Tensor) -> Tensor:
        """Bring latents to (t, C, h, w) in the stored type, on the host."""
        channels = self.meta.latent_spec["channels"] * (2 if self.meta.kind == "moments" else 1)
        latents = frames_first(latents, channels)
        if self._shape and tuple(latents.shape[1:]) != self._shape:
            raise InputError(f"latent frames were {self._shape} and now are {tuple(latents.shape[1:])}")
        where = f"{self._path}: latent frame {self.num_latent_frames} or one soon after"
        return to_stored(latents, self.meta.dtype, where=where)

    def _write(self, frames: Tensor) -> None:
        if self._file is None:
            self._shape = tuple(frames.shape[1:])
            self._room = room_for(self._header(), spare_bytes=_SPARE_BYTES)
            with self._naming_the_file():
                self._file = self._partial.path.open("wb")
                self._file.write(bytes(self._room))
        self._put(frames.view(-1).view(torch.uint8).numpy().data)
        self.num_latent_frames += len(frames)

    def _put(self, data: memoryview | bytes) -> None:
        assert self._file is not None
        self._digest.update(data)
        with self._naming_the_file():
            self._file.write(data)

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Turn a full disk or a folder that may not be written into an error that says where."""
        try:
            yield
        except OSError as error:
            raise LatentFileError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def _header(self) -> bytes:
        self.meta = replace(
            self.meta,
            num_frames=self.num_frames,
            time_base=self._ticks.time_base,
            sha256=self._digest.hexdigest(),
            version=_library_version(),
        )
        tensors = {
            self.meta.kind: (TYPES[self.meta.dtype], (self.num_latent_frames, *self._shape)),
            "pts": (torch.int64, (self.num_frames,)),
        }
        return pack_header(tensors, self.meta.to_strings())

    def close(self) -> None:
        """Finish the file, bring it to disk and give it its name.

        Raises:
            InputError: No latents or no frame times were appended.
        """
        if self._closed:
            return
        try:
            if self._file is None or not self.num_frames:
                raise InputError(f"{self._path}: no {'frame times' if self._file else 'latents'} were appended")
            self._put(self._ticks.tobytes())
            with self._naming_the_file():
                self._commit(self._file)
        finally:
            self.abort()

    def _commit(self, file: BinaryIO) -> None:
        file.seek(0)
        file.write(pad_header(self._header(), self._room))
        file.close()
        self._partial.commit()
        self._closed = True

    def abort(self) -> None:
        """Give up: remove what was written, leave an existing file of this name as it is."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._file is not None:
                with suppress(OSError):  # closing flushes, which a full disk refuses; the file goes anyway
                    self._file.close()
        finally:
            self._partial.discard()

    def __enter__(self) -> LatentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _library_version() -> str:
    # Not from vidlatent/__init__.py, which is above this room and imports it.
    try:
        return metadata.version("vidlatent")
    except metadata.PackageNotFoundError:
        return "unknown"
