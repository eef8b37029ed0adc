"""Files that appear under their name whole or not at all, whatever the process that writes them dies of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from torch import Tensor


class PartialFile:
    """A passing name beside a file's own, which it gets when it is whole; a context manager that gives the passing one.

        with PartialFile(path) as partial:
            partial.write_text(text)

    An error within leaves what was at `path`, and nothing beside it. A process that is killed leaves a file whose name
    begins with a dot and holds `.part`.

    Args:
        path: Its own name, in a folder that exists. An existing file is replaced at the end; its readers keep it.
        durable: Whether `commit` waits until bytes and name are on disk, so that a power cut leaves the old or the new.
    """

    def __init__(self, path: str | os.PathLike[str], *, durable: bool = False) -> None:
        self.target, self._durable = Path(path), durable
        # The suffix stays: libraries choose formats by it. In the same folder, so that a rename brings it there.
        self.path = self.target.with_name(f".{self.target.stem}.{uuid4().hex[:8]}.part{self.target.suffix}")

    def sync(self) -> None:
        """Bring the bytes that were written to disk."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())

    def commit(self) -> None:
        """Give the file its name. Whoever has it open for writing closes it before."""
        if self._durable:
            self.sync()
        self.path.replace(self.target)
        if self._durable:
            sync_folder(self.target.absolute().parent)

    def discard(self) -> None:
        """Remove what was written, if it has not got its name."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file in UTF-8, whole or not at all, its folder too where there is none; its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with PartialFile(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write a safetensors file, whole or not at all, its folder too where there is none; its path.

    A file that somebody still maps is replaced, not overwritten.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with PartialFile(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, {**metadata})
        partial.chmod(0o644)  # safetensors makes files for their owner alone
    return path


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut, where the system lets folders be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
