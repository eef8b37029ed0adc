"""Shelves away from the device: host memory, and a file."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import torch
from torch import Tensor

from vidlatent.streaming.shelf import Away, Keep, Kept, Shelf, dense_strides


class HostShelf(Away):
    """Host memory, pinned where the device is CUDA; copies run on a stream of their own.

    A buffer may be used again at once: the next copy into it is queued behind the one out of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

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
    """A temporary file (`TMPDIR` says where); written and read by one thread, so a read finds what was written."""

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- lives as long as the shelf
        self._thread = ThreadPoolExecutor(1)
        weakref.finalize(self, _close, self._thread, self._file)
        self._end = 0
        self._writing: Future[None] | None = None

    def _store(self, x: Tensor) -> tuple[int, Future[None]]:
        spare = self._spare(x.nbytes)
        offset = self._end if spare is None else spare[0]
        self._end = max(self._end, offset + x.nbytes)
        if self._writing is not None:  # there is one copy at most
            self._writing.result()
        copy = torch.empty_strided(x.shape, dense_strides(x), dtype=x.dtype).copy_(x)
        self._writing = self._thread.submit(_write, self._file, [_bytes(copy)], offset)
        return offset, self._writing

    def _fetch(self, kept: Kept) -> Future[Tensor]:
        return self._thread.submit(_read, self._file, kept)

    def _arrived(self, fetched: Future[Tensor]) -> Tensor:
        return fetched.result()


SHELVES: dict[Keep, type[Shelf]] = {"device": Shelf, "host": HostShelf, "file": FileShelf}


def _write(file: IO[bytes], data: list[Tensor], offset: int) -> None:
    """Write the one tensor in `data`, which nobody holds any more when that is said to be done."""
    view = memoryview(data.pop().numpy().data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written


def _read(file: IO[bytes], kept: Kept) -> Tensor:
    offset, written = kept.place
    written.result()  # an error of the disk is raised here: what was never written is never read
    x = kept.empty("cpu")
    view = memoryview(_bytes(x).numpy().data)
    while view:
        count = os.preadv(file.fileno(), [view], offset)
        if not count:
            raise OSError("the file that holds a sweep's state is shorter than what was written to it")
        view, offset = view[count:], offset + count
    return x.to(kept.device)


def _close(thread: ThreadPoolExecutor, file: IO[bytes]) -> None:
    thread.shutdown(wait=False, cancel_futures=True)
    file.close()


def _bytes(x: Tensor) -> Tensor:
    """The storage of a dense tensor, as bytes in memory order."""
    return torch.empty(0, dtype=torch.uint8).set_(x.untyped_storage())


def _typed(buffer: Tensor, like: Tensor) -> Tensor:
    """A buffer of bytes in the type, shape and layout that `like` has when it is dense."""
    return buffer.view(like.dtype).as_strided(like.shape, dense_strides(like))
