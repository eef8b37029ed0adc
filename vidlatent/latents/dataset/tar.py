"""The container: plain uncompressed tar, named as WebDataset groups files, with a safetensors file per segment."""

from __future__ import annotations

import json
import re
import struct
import tarfile
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vidlatent.errors import InputError

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)  # of an archive

_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.int8: "I8"}
# WebDataset splits a name at its first dot: what is before is the sample, what is after names the field.
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked_key(key: str) -> str:
    """A key as it is, once it is known to be one.

    Raises:
        InputError: It could not be the name of a WebDataset sample.
    """
    if not _KEY.fullmatch(key):
        raise InputError(f"key {key!r}: expected up to 64 letters, digits, - or _, as content_key gives")
    return key


def segment_name(key: str, number: int) -> str:
    """Name of a clip's segment in the archive."""
    return f"{key}.latent.safetensors" if number == 0 else f"{key}.latent.{number:03d}.safetensors"


def meta_name(key: str) -> str:
    """Name of a clip's description in the archive."""
    return f"{key}.json"


def header(name: str, num_bytes: int) -> bytes:
    """What stands before a member: the same bytes for the same name and length, always."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = num_bytes, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(num_bytes: int) -> bytes:
    """What stands after a member."""
    return bytes(-num_bytes % BLOCK_BYTES)


def bytes_of(tensor: Tensor) -> np.ndarray:
    """The memory of a contiguous tensor, flat."""
    return tensor.view(-1).view(torch.uint8).numpy()  # of one column, the last stride may be anything


def pack_segment(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[bytes, int]:
    """A safetensors file, its tensors in the order given, and the byte in it where the last one begins.

    The same tensors give the same bytes, always; the library's own `save` orders metadata by chance.
    """
    described: dict[str, object] = {"__metadata__": dict(metadata)}
    parts = [bytes_of(tensor.contiguous()).tobytes() for tensor in tensors.values()]
    end = 0
    for (name, tensor), part in zip(tensors.items(), parts, strict=True):
        described[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + len(part)],
        }
        end += len(part)
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are to begin at a multiple of eight bytes
    payload = struct.pack("<Q", len(text)) + text + b"".join(parts)
    return payload, len(payload) - len(parts[-1])
