"""Datasets at a URL: s3://, gs://, hf://, memory://, file://, whatever fsspec has a file system for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidlatent.errors import InputError, LatentFileError, MissingDependency
from vidlatent.latents.dataset.folder import Folder


class RemoteFolder(Folder):
    """A folder of an fsspec file system. A file appears whole, under its name, when all of it has been put."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ModuleNotFoundError as error:
            raise MissingDependency("fsspec", "encode") from error
        self.url = url.rstrip("/")
        try:
            self._fs, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise InputError(f"{url}: {error}") from error
        self._root = str(root).rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def names(self, folder: str = "") -> list[str]:
        try:
            self._fs.invalidate_cache()
            found = self._fs.ls(self._path(folder), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")

    def size(self, name: str) -> int | None:
        try:
            return int(self._fs.size(self._path(name)))
        except FileNotFoundError:
            return None

    def read_into(self, name: str, position: int, target: np.ndarray) -> None:
        try:
            data = self._fs.cat_file(self._path(name), start=position, end=position + len(target))
        except FileNotFoundError as error:
            raise LatentFileError(f"{self.url}/{name}: no such file") from error
        if len(data) != len(target):
            raise LatentFileError(f"{self.url}/{name}: cut off: {position + len(target):,} bytes are indexed")
        target[:] = np.frombuffer(data, np.uint8)

    def read(self, names: Sequence[str]) -> list[bytes]:
        paths = [self._path(name) for name in names]
        if not paths:
            return []
        found: dict[str, Any] = self._fs.cat(paths)  # at once, where the file system can
        return [found[self._fs._strip_protocol(path)] for path in paths]

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> None:
        if self.size(name) is None:
            self.write(name, data)

    def put(self, local: Path, name: str) -> None:
        path = self._path(name)
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(local), path)

    def move(self, name: str, to: str) -> None:
        self._fs.makedirs(self._path(to).rsplit("/", 1)[0], exist_ok=True)
        self._fs.mv(self._path(name), self._path(to))
