"""Where a sweep's outer state lies between two slabs: on the device, in host memory, or in a file.

Off the device, writing goes on behind the computation, and reading one state ahead of it: a sweep asks for its states
in the order in which it put them down.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import torch
from torch import Tensor

Keep = Literal["device", "host", "file"]
_NEAR = 3
"""How many numbers further the next state may be: what was put down between may be gone already."""


class Shelf:
    """On the device: nothing moves."""

    absent_bytes = largest_bytes = 0

    def put(self, x: Tensor) -> Tensor | Kept:
        """Lay down a copy of `x`, which may be a view of something larger."""
        return x.clone()

    def own(self, x: Tensor) -> Tensor | Kept:
        """Lay down `x` itself, which nobody else changes."""
        return x

    def get(self, kept: Tensor | Kept) -> Tensor:
        """Take it up again; it is on the shelf no more."""
        assert isinstance(kept, Tensor)
        return kept

    def drop(self, kept: Tensor | Kept) -> None:
        """Forget it."""

    def copy(self, kept: Tensor | Kept) -> Tensor:
        """A look at it, for saving."""
        assert isinstance(kept, Tensor)
        return kept


DEVICE = Shelf()


@dataclass
class Kept:
    """A dense tensor that lies elsewhere."""

    number: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    place: Any = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes where it lies."""
        return self.shape.numel() * self.dtype.itemsize

    def empty(self, device: torch.device | str) -> Tensor:
        """Room for it."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)


class _Away(Shelf):
    """Any other place: subclasses store, fetch (maybe later) and wait for what is fetched; places are used again.

    `absent_bytes` are what lies there and was not sent for, `largest_bytes` the largest tensor that was put down.
    """

    def __init__(self) -> None:
        self.absent_bytes = self.largest_bytes = 0
        self._count = 0
        self._kept: dict[int, Kept] = {}
        self._ahead: dict[int, Any] = {}
        self._free: dict[int, list[Any]] = {}

    def put(self, x: Tensor) -> Tensor | Kept:
        if not x.numel():
            return x.clone()
        place = None if x.is_meta else self._store(x)  # counting memory stores nothing
        kept = Kept(self._count, x.shape, dense_strides(x), x.dtype, x.device, place)
        self.absent_bytes += kept.nbytes
        self.largest_bytes = max(self.largest_bytes, kept.nbytes)
        self._count += 1
        self._kept[kept.number] = kept
        return kept

    def own(self, x: Tensor) -> Tensor | Kept:
        return self.put(x)

    def get(self, kept: Tensor | Kept) -> Tensor:
        if isinstance(kept, Tensor):  # never put down here
            return kept
        if kept.number not in self._ahead:
            self._send_for(kept)
        x = self._wait(self._ahead.pop(kept.number), kept)
        self._forget(kept)
        following = (n for n in range(kept.number + 1, kept.number + 1 + _NEAR) if n in self._kept)
        self._look_ahead(next(following, None))
        return x

    def copy(self, kept: Tensor | Kept) -> Tensor:
        return kept if isinstance(kept, Tensor) else self._wait(self._begin(kept), kept)

    def drop(self, kept: Tensor | Kept) -> None:
        if not isinstance(kept, Tensor):
            if self._ahead.pop(kept.number, None) is None:
                self.absent_bytes -= kept.nbytes
            self._forget(kept)

    def _forget(self, kept: Kept) -> None:
        del self._kept[kept.number]
        if kept.place is not None:
            self._free.setdefault(kept.nbytes, []).append(kept.place)

    def _look_ahead(self, number: int | None) -> None:
        """Send for what is asked for next, maybe; what was sent for and not asked for would only lie in the way."""
        for other in [n for n in self._ahead if n != number]:
            del self._ahead[other]
            self.absent_bytes += self._kept[other].nbytes
        if number is not None and number not in self._ahead:
            self._send_for(self._kept[number])

    def _send_for(self, kept: Kept) -> None:
        self._ahead[kept.number] = self._begin(kept)
        self.absent_bytes -= kept.nbytes

    def _begin(self, kept: Kept) -> Any:
        return kept.empty("meta") if kept.place is None else self._fetch(kept)

    def _wait(self, fetched: Any, kept: Kept) -> Tensor:
        return fetched if kept.place is None else self._arrived(fetched)

    def _spare(self, nbytes: int) -> Any:
        """A place of that size that is free again, or None."""
        places = self._free.get(nbytes)
        return places.pop() if places else None

    def _store(self, x: Tensor) -> Any:
        raise NotImplementedError

    def _fetch(self, kept: Kept) -> Any:
        raise NotImplementedError

    def _arrived(self, fetched: Any) -> Tensor:
        raise NotImplementedError


class HostShelf(_Away):
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


class FileShelf(_Away):
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
        if self._writing is not None:  # one copy waits at most
            self._writing.result()
        copy = torch.empty_strided(x.shape, dense_strides(x), dtype=x.dtype).copy_(x)
        self._writing = self._thread.submit(_write, self._file, _bytes(copy), offset)
        return offset, self._writing

    def _fetch(self, kept: Kept) -> Future[Tensor]:
        return self._thread.submit(_read, self._file, kept)

    def _arrived(self, fetched: Future[Tensor]) -> Tensor:
        return fetched.result()


SHELVES: dict[Keep, type[Shelf]] = {"device": Shelf, "host": HostShelf, "file": FileShelf}


def _write(file: IO[bytes], data: Tensor, offset: int) -> None:
    view = memoryview(data.numpy().data)
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


def dense_strides(x: Tensor) -> tuple[int, ...]:
    """Strides of a tensor without gaps whose axes come in the order of those of `x`."""
    if x.is_contiguous() or (x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)):
        return x.stride()
    strides, step = [0] * x.ndim, 1
    for axis in sorted(range(x.ndim), key=lambda a: (x.stride(a), x.shape[a], -a)):
        strides[axis] = step
        step *= max(1, x.shape[axis])
    return tuple(strides)
