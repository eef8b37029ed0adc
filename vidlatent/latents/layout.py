"""The safetensors container: eight bytes of header length, a JSON header, then the tensors without gaps.

The format lets the JSON end in spaces. That is what makes streaming possible: room for the header is left in front, the
tensors are appended while their lengths are unknown, and the header is filled in last. Until then the length in front
is zero, which no reader takes for a file. The header carries a hash of itself, so that a changed digit in it is seen.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vidlatent.errors import LatentFileError

FORMAT_VERSION = 1
VERSION_KEY, HEADER_HASH_KEY = "vidlatent_format", "header_sha256"

_AGAIN = "copy it again, or encode the clip again"
_PREFIX_BYTES = 8
_PAGE_BYTES = 4096
_MAX_HEADER_BYTES = 100 * 2**20  # what the safetensors library itself allows
_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.int64: "I64"}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type, its shape, and where it starts after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes that the tensor takes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Header:
    """A parsed header: the tensors, the metadata, and where the tensors' bytes begin."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    data_offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(entry.num_bytes for entry in self.entries.values())


def pack_header(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """Length and JSON, unpadded; the tensors lie in the order given."""
    metadata = {VERSION_KEY: str(FORMAT_VERSION), **metadata}
    described: dict[str, object] = {}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        end = offset + math.prod(shape) * dtype.itemsize
        described[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    metadata[HEADER_HASH_KEY] = _header_hash(described, metadata)
    text = _json({"__metadata__": metadata, **described})
    return struct.pack("<Q", len(text)) + text


def _header_hash(described: Mapping[str, object], metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(_json([dict(sorted(described.items())), dict(sorted(metadata.items()))])).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def pad_header(packed: bytes, num_bytes: int) -> bytes:
    """Fill `packed` with spaces to `num_bytes`, and say so in its length."""
    assert len(packed) <= num_bytes, "the room left for the header was too small"
    text = packed[_PREFIX_BYTES:].ljust(num_bytes - _PREFIX_BYTES)
    return struct.pack("<Q", len(text)) + text


def room_for(packed: bytes, *, spare_bytes: int) -> int:
    """Bytes to leave in front for a header like this one: whole pages, so that tensors start on a page."""
    return math.ceil((len(packed) + spare_bytes) / _PAGE_BYTES) * _PAGE_BYTES


def read_header(file: BinaryIO, name: str, num_bytes: int) -> Header:
    """Read the header of the `num_bytes` long container that starts where `file` stands.

    Raises:
        LatentFileError: Not safetensors, not latents of ours, of a later version, or not all of it is there.
    """
    prefix = file.read(_PREFIX_BYTES)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == _PREFIX_BYTES else 0
    if not length:
        raise LatentFileError(f"{name}: not a latent file, or one whose writing never finished: encode the clip again")
    if length > _MAX_HEADER_BYTES:
        raise LatentFileError(f"{name}: not a latent file: it does not begin with a safetensors header")
    if _PREFIX_BYTES + length > num_bytes:
        raise _cut_off(name, num_bytes, f"its header alone takes {_PREFIX_BYTES + length:,}")
    try:
        raw = json.loads(file.read(length))
        metadata = dict(raw.pop("__metadata__", {}))
        version = int(metadata.get(VERSION_KEY, 0))
        names = ", ".join(raw)
    except (ValueError, AttributeError, TypeError) as error:
        raise LatentFileError(f"{name}: not a latent file: its header is not that of safetensors") from error
    if not version:
        raise LatentFileError(
            f"{name}: safetensors, but not latents written by vidlatent: it holds {names or 'nothing'}"
        )
    if version > FORMAT_VERSION:
        raise LatentFileError(
            f"{name}: written by a later vidlatent (format {version}, this one reads up to {FORMAT_VERSION}): "
            "pip install --upgrade vidlatent"
        )
    if metadata.pop(HEADER_HASH_KEY, "") != _header_hash(raw, metadata):
        raise LatentFileError(f"{name}: its header has changed since it was written: {_AGAIN}")
    header = Header(_entries(raw, name), metadata, _PREFIX_BYTES + length)
    expected = header.data_offset + header.data_bytes
    if expected > num_bytes:
        raise _cut_off(name, num_bytes, f"it should have {expected:,}")
    if expected < num_bytes:
        raise LatentFileError(f"{name}: {num_bytes - expected:,} bytes too long: something was appended; copy it again")
    return header


def claims_latents(path: Path) -> bool:
    """Whether a file says that it is a latent file of ours, of any version, whole or cut off."""
    with path.open("rb") as file:
        start = file.read(_PREFIX_BYTES + _PAGE_BYTES)
    return not any(start[:_PREFIX_BYTES]) or f'"{VERSION_KEY}"'.encode() in start


def _entries(raw: Mapping[str, Any], name: str) -> dict[str, Entry]:
    """Entries of a header whose hash is right, so that only another writer could have made them wrong."""
    try:
        entries = {
            key: Entry(_TYPES[value["dtype"]], tuple(value["shape"]), value["data_offsets"][0])
            for key, value in raw.items()
        }
    except (KeyError, TypeError, IndexError) as error:
        raise LatentFileError(f"{name}: its header describes tensors that no vidlatent writes") from error
    position = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        if entry.offset != position:
            raise LatentFileError(f"{name}: the tensors in its header overlap or leave gaps: {_AGAIN}")
        position += entry.num_bytes
    return entries


def _cut_off(name: str, num_bytes: int, wanted: str) -> LatentFileError:
    return LatentFileError(f"{name}: cut off: it has {num_bytes:,} bytes, {wanted}: {_AGAIN}")
