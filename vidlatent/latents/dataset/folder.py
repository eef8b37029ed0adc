"""Where a dataset lies: a folder on this machine, or a URL that fsspec knows.

Both do the same few things. The folder here renames and maps into memory; an object store puts whole files and reads
ranges of them, which is why a shard's index is put after the shard.
"""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from vidlatent.errors import LatentFileError
from vidlatent.files import PartialFile, sync_folder

_OPEN_MAPS = 256  # each holds a file descriptor, of which systems give 1024


class Folder(ABC):
    """A dataset's files by their names, "/" between folders."""

    url: str

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Sorted names of the files in a folder, none where there is no such folder."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""

    @abstractmethod
    def read_into(self, name: str, position: int, target: np.ndarray) -> None:
        """Fill `target`, bytes, from a place in a file. Raises `LatentFileError` where it has not that many."""

    @abstractmethod
    def read(self, names: Sequence[str]) -> list[bytes]:
        """Whole files. Raises `FileNotFoundError`."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """A whole file, replacing what is there; readers see the old or the new one."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> None:
        """A whole file, unless there is one already."""

    @abstractmethod
    def put(self, local: Path, name: str) -> None:
        """Bring in a file from this machine, which may be gone afterwards."""

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Give a file another name."""

    def read_bytes(self, name: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file."""
        target = np.empty(stop - start, np.uint8)
        self.read_into(name, start, target)
        return target.tobytes()

    def blocks(self, name: str, start: int, stop: int, *, block_bytes: int = 2**22) -> Iterator[bytes]:
        """Bytes [start, stop) of a file, in pieces."""
        for position in range(start, stop, block_bytes):
            yield self.read_bytes(name, position, min(stop, position + block_bytes))

    def __repr__(self) -> str:
        return self.url


class LocalFolder(Folder):
    """A folder on this machine, or one that it has mounted."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.url = str(path)
        self._maps: OrderedDict[str, mmap.mmap] = OrderedDict()

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.path / folder) if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, name: str) -> int | None:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def read_into(self, name: str, position: int, target: np.ndarray) -> None:
        np.copyto(target, np.frombuffer(self._mapped(name, position + len(target)), np.uint8, len(target), position))

    def read_bytes(self, name: str, start: int, stop: int) -> bytes:
        return self._mapped(name, stop)[start:stop]

    def _mapped(self, name: str, num_bytes: int) -> mmap.mmap:
        """A file of at least so many bytes."""
        mapped = self._maps.get(name)
        return self._map(name, num_bytes) if mapped is None or len(mapped) < num_bytes else mapped

    def _map(self, name: str, num_bytes: int) -> mmap.mmap:
        try:
            with (self.path / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Reading a map behind the end of its file kills the process.
                if size < num_bytes:
                    raise LatentFileError(f"{self.path / name}: cut off: {size:,} bytes, {num_bytes:,} are indexed")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise LatentFileError(f"{self.path / name}: {error.strerror or error}") from error
        self._maps[name] = mapped
        if len(self._maps) > _OPEN_MAPS:
            self._maps.popitem(last=False)
        return mapped

    def read(self, names: Sequence[str]) -> list[bytes]:
        return [(self.path / name).read_bytes() for name in names]

    def write(self, name: str, data: bytes) -> None:
        path = self._with_parent(name)
        with naming(path), PartialFile(path, durable=True) as partial:
            partial.write_bytes(data)

    def create(self, name: str, data: bytes) -> None:
        path = self._with_parent(name)
        partial = PartialFile(path)
        with naming(path):
            try:
                partial.path.write_bytes(data)
                partial.sync()
                with suppress(FileExistsError):
                    os.link(partial.path, path)
                    sync_folder(path.parent)
            finally:
                partial.discard()

    def _with_parent(self, name: str) -> Path:
        path = self.path / name
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, local: Path, name: str) -> None:
        local.replace(self.path / name)

    def move(self, name: str, to: str) -> None:
        with naming(self.path / name):
            (self.path / to).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).replace(self.path / to)
            sync_folder((self.path / to).parent)
        self._maps.pop(name, None)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "url": self.url, "_maps": OrderedDict()}


def open_folder(url: str | os.PathLike[str]) -> Folder:
    """The folder that a path or a URL names; it need not be there yet."""
    text = os.fspath(url).removeprefix("file://")
    if "://" not in text:
        return LocalFolder(text)
    from vidlatent.latents.dataset._fsspec import RemoteFolder

    return RemoteFolder(text)


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Turn a full disk or a folder that may not be written into an error that says where and what to do."""
    try:
        yield
    except OSError as error:
        raise LatentFileError(
            f"{path}: cannot be written: {error.strerror or error}: what was committed is safe, start again when there "
            "is room and leave to write"
        ) from error
