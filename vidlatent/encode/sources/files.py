"""Files wherever they are: local ones by path, all others through fsspec, which is imported only for a URL."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from vidlatent.errors import InputError, MissingDependency

_BLOCK_BYTES = 2**20
_GLOB_SIGNS = frozenset("*?[")


def is_url(path: str) -> bool:
    """Whether a path names a protocol: memory://, s3://, hf://, https://; file:// is a local path (see `local`)."""
    return "://" in path


def local(path: str) -> str:
    """A file:// URL as the path it means; everything else as it is."""
    return unquote(urlsplit(path).path) if path.startswith("file://") else path


def is_pattern(path: str) -> bool:
    """Whether a path is a glob; what exists under exactly this name is not."""
    return bool(_GLOB_SIGNS & set(path)) and (is_url(path) or not os.path.exists(path))


def filesystem(url: str) -> Any:
    """The fsspec file system of a URL. Raises `MissingDependency` without fsspec, `InputError` for one it has not."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependency("fsspec", "encode") from error
    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:  # a protocol nobody knows, or one whose package is missing
        raise InputError(f"{url}: {error}") from error


def open_binary(path: str) -> BinaryIO:
    """Open a file or URL for reading, seekable."""
    return cast(BinaryIO, filesystem(path).open(path, "rb") if is_url(path) else open(path, "rb"))


def expand(path: str) -> list[str]:
    """Every file that a path, folder, glob or URL stands for, sorted; hidden ones are left out."""
    if is_url(path):
        found = _expand_url(path)
    elif is_pattern(path):
        found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)]
    elif os.path.isdir(path):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    else:
        found = [path] if os.path.exists(path) else []
    root = os.path.dirname(path) if is_pattern(path) else path
    return sorted(name for name in found if not _hidden(name, root))


def _expand_url(url: str) -> list[str]:
    files = filesystem(url)
    if is_pattern(url):
        found = [name for name in files.glob(url) if files.isfile(name)]
    elif files.isdir(url):
        found = files.find(url)
    else:
        found = [url] if files.exists(url) else []
    return [files.unstrip_protocol(name) for name in found]


def _hidden(path: str, root: str) -> bool:
    inside = path[len(root) :] if path.startswith(root) else os.path.basename(path)
    return any(part.startswith(".") for part in inside.split("/") if part)


def stamp(path: str) -> str:
    """What changes when a file does: its size with its time of change, or with the tag an object store gives."""
    if not is_url(path):
        status = os.stat(path)
        return f"{status.st_size}-{status.st_mtime_ns}"
    info = filesystem(path).info(path)
    changed = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(key)), "")
    return f"{info.get('size')}-{changed}"


def join(folder: str, name: str) -> str:
    """A name as a table gives it: a URL or an absolute path as it is, all else beside the table."""
    if is_url(name) or os.path.isabs(name):
        return local(name)
    return f"{folder}/{name}" if is_url(folder) else os.path.join(folder, name)


def folder_of(path: str) -> str:
    """The folder that a file or URL lies in."""
    if not is_url(path):
        return os.path.dirname(path)
    protocol, _, inside = path.partition("://")
    return f"{protocol}://{inside.rpartition('/')[0]}"


def blocks(file: BinaryIO, num_bytes: int | None = None) -> Iterator[bytes]:
    """The next `num_bytes` of a file, all of it with None, a MiB at a time. Raises `EOFError` where there are fewer."""
    left = num_bytes
    while left is None or left > 0:
        block = file.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
        if not block:
            if left is None:
                return
            raise EOFError(f"{left} bytes are missing at its end")
        left = None if left is None else left - len(block)
        yield block


def copy_to(target: Path, content: Iterator[bytes]) -> str:
    """Write blocks to a file and return the sha256 of all of them."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for block in content:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
