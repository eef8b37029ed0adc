"""Shelves away from the device: host memory, and a file."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vidlatent.streaming.shelf import Away, Keep, Kept, Shelf, dense_strides, is_dense, room


class HostShelf(Away):
    """Host memory, pinned where the device is CUDA; copies run on a stream of their own.

    A buffer may be used again at once: the next copy into it is queued behind the one out of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def _takes(self, x: Tensor) -> int:
        return 2 * x.nbytes  # one is on its way there, and one back

    def _store(self, x: Tensor) -> Tensor:
        buffer = self._spare(x.nbytes)  # pinning is slow
        if buffer is None:
            buffer = torch.empty(x.nbytes, dtype=torch.uint8, pin_memory=x.is_cuda)
        with self._beside(x.device) as current:
            _typed(buffer, x).copy_(x, non_blocking=True)
            if current is not None:
                x.record_stream(self._streams[x.device])
        return buffer

    def _fetch(self, kept: Kept) -> tuple[Tensor, Any]:
        with self._beside(kept.device) as current:
            x = kept.empty(kept.device)
            x.copy_(_typed(kept.place, x), non_blocking=True)
            if current is None:
                return x, None
            x.record_stream(current)
            return x, self._streams[kept.device].record_event()

    def _arrived(self, fetched: tuple[Tensor, Any]) -> Tensor:
        x, event = fetched
        if event is not None:
            torch.cuda.current_stream(x.device).wait_event(event)
        return x

    @contextmanager
    def _beside(self, device: torch.device) -> Iterator[torch.cuda.Stream | None]:
        """Run what follows on the copying stream, behind what is queued; gives the stream that computes."""
        if device.type != "cuda":
            yield None
            return
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
        current = torch.cuda.current_stream(device)
        self._streams[device].wait_stream(current)
        with torch.cuda.stream(self._streams[device]):
            yield current


class FileShelf(Away):
    """A temporary file (`TMPDIR` says where), written and read at once; the system writes behind and reads ahead.

    What is put down goes there from where it lies, and nothing is held of what will be asked for next.
    """

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- lives as long as the shelf
        weakref.finalize(self, self._file.close)
        self._end = 0

    def _takes(self, x: Tensor) -> int:
        return 0 if _runs(x) is not None else x.nbytes

    def _store(self, x: Tensor) -> int:
        spare = self._spare(x.nbytes)
        offset = self._end if spare is None else spare
        self._end = max(self._end, offset + x.nbytes)
        runs = _runs(x) if x.device.type == "cpu" else None
        if runs is None:
            runs = [torch.empty_strided(x.shape, dense_strides(x), dtype=x.dtype).copy_(x)]
        place = offset
        for view in map(_bytes, runs):
            while view:
                written = os.pwrite(self._file.fileno(), view, place)
                view, place = view[written:], place + written
        return offset

    def join(self, kept: Tensor | Kept, x: Tensor, axis: int) -> Tensor:
        """Read straight to where it is to lie."""
        if isinstance(kept, Tensor) or kept.device.type == "cuda" or not x.shape[axis]:
            return super().join(kept, x, axis)
        shape = [*x.shape[:axis], kept.shape[axis] + x.shape[axis], *x.shape[axis + 1 :]]
        joined = room(shape, kept.stride, x.dtype, x.device)
        front, rest = joined.split([kept.shape[axis], x.shape[axis]], axis)
        if not self._fill(front, kept):
            del joined, front, rest
            return super().join(kept, x, axis)
        rest.copy_(x)
        self.absent_bytes -= kept.nbytes
        self._taken(kept)
        return joined

    def _fill(self, front: Tensor, kept: Kept) -> bool:
        """Read it to where it is to lie; False if it would lie there in another order, or in many pieces."""
        lies = zip(kept.shape, kept.stride, dense_strides(front), strict=True)
        runs = _runs(front)
        if runs is None or any(size > 1 and was != now for size, was, now in lies):
            return False
        if kept.place is not None:
            self._read(runs, kept.place)
        return True

    def _look_ahead(self, number: int | None) -> None:
        if number is not None and hasattr(os, "posix_fadvise"):
            kept = self._kept[number]
            if kept.place is not None:
                os.posix_fadvise(self._file.fileno(), kept.place, kept.nbytes, os.POSIX_FADV_WILLNEED)

    def _fetch(self, kept: Kept) -> Tensor:
        x = kept.empty("cpu")
        self._read([x], kept.place)
        return x.to(kept.device)

    def _read(self, runs: list[Tensor], offset: int) -> None:
        for view in map(_bytes, runs):
            while view:
                count = os.preadv(self._file.fileno(), [view], offset)
                if not count:
                    raise OSError("the file that holds a sweep's state is shorter than what was written to it")
                view, offset = view[count:], offset + count

    def _arrived(self, fetched: Tensor) -> Tensor:
        return fetched


SHELVES: dict[Keep, type[Shelf]] = {"device": Shelf, "host": HostShelf, "file": FileShelf}


def _runs(x: Tensor) -> list[Tensor] | None:
    """`x` as it lies, in memory order: in one piece, or in one for each item of its outermost axis; else None."""
    if is_dense(x):
        return [x]
    outermost = max(range(x.ndim), key=lambda axis: (x.stride(axis), x.shape[axis]))
    parts = list(x.unbind(outermost))
    return parts if is_dense(parts[0]) else None


def _bytes(x: Tensor) -> memoryview:
    """A dense tensor as bytes in memory order."""
    flat = x.as_strided((x.numel(),), (1,))
    return memoryview(flat.view(torch.uint8).numpy().data)


def _typed(buffer: Tensor, like: Tensor) -> Tensor:
    """A buffer of bytes in the type, shape and layout that `like` has when it is dense."""
    return buffer.view(like.dtype).as_strided(like.shape, dense_strides(like))
