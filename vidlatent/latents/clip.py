"""Reading a latent file: any window of frames by one contiguous read."""

from __future__ import annotations

import hashlib
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents.layout import Entry, read_header
from vidlatent.latents.meta import LatentMeta

_BLOCK_BYTES = 2**20


class LatentClip:
    """One clip's latents on disk: `read(start, stop)` gives frames, `meta` says what they are.

    A context manager. Reads do not share a file position, so threads and forked workers may use one `LatentClip`;
    pickled, it opens its file anew.

    Args:
        path: A latent file, or a file that holds one (an archive).
        offset: Byte at which it begins.
        num_bytes: Its length, None for all up to the end.
    """

    def __init__(self, path: str | os.PathLike[str], *, offset: int = 0, num_bytes: int | None = None) -> None:
        self.path = Path(path)
        self._span = (offset, num_bytes)
        if self.path.is_dir():
            raise LatentFileError(f"{path}: a folder, not a latent file")
        try:
            self._file = self.path.open("rb", buffering=0)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
            raise LatentFileError(f"{path}: {reason}") from error
        try:
            self._open(offset, num_bytes)
        except BaseException:
            self._file.close()
            raise

    def _open(self, offset: int, num_bytes: int | None) -> None:
        size = os.fstat(self._file.fileno()).st_size - offset
        self._file.seek(offset)
        header = read_header(self._file, str(self.path), size if num_bytes is None else num_bytes)
        try:
            self.meta = LatentMeta.from_strings(header.metadata)
            self._latents, self._pts = header.entries[self.meta.kind], header.entries["pts"]
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise LatentFileError(f"{self.path}: its metadata is damaged ({error}): encode the clip again") from error
        if len(self._latents.shape) != 4 or self._pts.shape != (self.meta.num_frames,) or len(header.entries) != 2:
            raise LatentFileError(f"{self.path}: its tensors are not those of a clip: encode the clip again")
        self._data_offset, self._data_bytes = offset + header.data_offset, header.data_bytes

    def __len__(self) -> int:
        """Latent frames."""
        return self._latents.shape[0]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(t, C, h, w); C counts the log-variance too where `meta.kind` is "moments"."""
        t, channels, h, w = self._latents.shape
        return t, channels, h, w

    @property
    def num_bytes(self) -> int:
        """Bytes of the latents as stored, without times and header."""
        return self._latents.num_bytes

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Latent frames [start, stop) as (t, C, h, w) in the stored type, by one read.

        Raises:
            InputError: The window is not within [0, len(self)].
            LatentFileError: The file lost bytes since it was opened.
        """
        return self._rows(self._latents, *self._window(start, stop, len(self), "latent frames"))

    def times(self, start: int = 0, stop: int | None = None) -> tuple[Fraction, ...]:
        """Exact seconds of video frames [start, stop), counted from the source's first frame."""
        window = self._window(start, stop, self.meta.num_frames, "video frames")
        return tuple(tick * self.meta.time_base for tick in self._rows(self._pts, *window).tolist())

    def verify(self) -> None:
        """Read every byte and compare with the checksum in the header.

        Raises:
            LatentFileError: They differ.
        """
        digest, position = hashlib.sha256(), 0
        while position < self._data_bytes:
            block = bytearray(min(_BLOCK_BYTES, self._data_bytes - position))
            self._read_into(memoryview(block), self._data_offset + position)
            digest.update(block)
            position += len(block)
        if digest.hexdigest() != self.meta.sha256:
            raise LatentFileError(f"{self.path}: its bytes have changed since it was written: copy or encode it again")

    def _window(self, start: int, stop: int | None, length: int, what: str) -> tuple[int, int]:
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise InputError(f"{self.path}: asked for {what} [{start}, {stop}), it has [0, {length})")
        return start, stop

    def _rows(self, entry: Entry, start: int, stop: int) -> Tensor:
        rows = torch.empty((stop - start, *entry.shape[1:]), dtype=entry.dtype)
        if rows.numel():
            row_bytes = entry.num_bytes // entry.shape[0]
            target = rows.view(-1).view(torch.uint8).numpy().data
            self._read_into(target, self._data_offset + entry.offset + start * row_bytes)
        return rows

    def _read_into(self, target: memoryview, position: int) -> None:
        done = 0
        while done < len(target):
            if hasattr(os, "preadv"):
                count = os.preadv(self._file.fileno(), [target[done:]], position + done)
            else:
                self._file.seek(position + done)
                count = self._file.readinto(target[done:]) or 0
            if not count:
                raise LatentFileError(f"{self.path}: it became shorter while it was being read")
            done += count

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    def __enter__(self) -> LatentClip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, *self._span)

    def __repr__(self) -> str:
        t, channels, h, w = self.shape
        return f"LatentClip({self.path}: {t}x{channels}x{h}x{w} {self.meta.dtype} of {self.meta.num_frames} frames)"


def _reopen(path: Path, offset: int, num_bytes: int | None) -> LatentClip:
    return LatentClip(path, offset=offset, num_bytes=num_bytes)
