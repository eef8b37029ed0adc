"""Holding a dataset against its index: every byte of every shard, every count, every fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from vidlatent.errors import LatentFileError
from vidlatent.latents.dataset import tar
from vidlatent.latents.dataset.catalog import SHARDS, Shard, iterate_shards, open_dataset, read_stats
from vidlatent.latents.dataset.folder import Folder
from vidlatent.latents.dataset.index import Entry
from vidlatent.latents.dataset.settings import DatasetSettings
from vidlatent.latents.dataset.shard import INDEX, PART, TAR

ProblemKind = Literal["missing", "truncated", "changed", "index", "fingerprint", "duplicate", "stats"]
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a shard, or with one clip of it where `key` is given; `reason` says what."""

    kind: ProblemKind
    shard: str
    reason: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.shard}{f', clip {self.key}' if self.key else ''}: {self.reason}"


@dataclass
class Verification:
    """What was read, what is wrong, and for each shard the clips that are whole and count."""

    num_clips: int = 0
    num_shards: int = 0
    num_bytes: int = 0
    unfinished: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    good: dict[str, list[Entry]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. A shard that is still being written is not wrong."""
        return not self.problems


def verify(
    directory: str | os.PathLike[str], *, fingerprint: str | None = None, progress: Progress | None = None
) -> Verification:
    """Read all of a dataset and hold it against its checksums; nothing is changed.

    Args:
        directory: A folder or URL.
        fingerprint: Of the autoencoder that it should be of; None takes the dataset's own word.
        progress: Called with the latent frames read so far, and all.

    Raises:
        LatentFileError: No dataset is there, or its `dataset.json` is damaged: nothing can be said without it.
    """
    folder, settings = open_dataset(directory)
    found = Verification()
    if fingerprint is not None and fingerprint != settings.fingerprint:
        reason = f"the dataset is of an autoencoder with fingerprint {settings.fingerprint}, not {fingerprint}"
        found.problems.append(Problem("fingerprint", "dataset.json", reason))
    shards = list(iterate_shards(folder))
    found.problems.extend(_of_the_whole(folder, {shard.name for shard in shards}))
    total = sum(entry.latent_frames for shard in shards for entry in shard.index.entries)
    seen: dict[str, str] = {}
    done = 0
    for shard in shards:
        found.num_shards += 1
        if shard.tar.endswith(PART):
            found.unfinished.append(shard.name)
        found.problems.extend(_of_the_shard(folder, shard))
        good = found.good[shard.name] = []
        size = folder.size(shard.tar) or 0
        for entry in shard.index.entries:
            first = seen.get(entry.key)
            problem = _of_the_clip(folder, shard, entry, settings, size)
            if problem is None and first is not None:
                problem = Problem("duplicate", shard.name, f"{first} has it already, which counts", entry.key)
            if problem is None:
                seen[entry.key] = shard.name
                good.append(entry)
                found.num_clips += 1
                found.num_bytes += entry.end - entry.start
            else:
                found.problems.append(problem)
            done += entry.latent_frames
            if progress:
                progress(done, total)
    return found


def _of_the_whole(folder: Folder, indexed: set[str]) -> Iterator[Problem]:
    """Shards that are not there, and files without an index."""
    try:
        counted = (read_stats(folder) or {}).get("shards", {})
    except LatentFileError as error:
        yield Problem("stats", "stats.json", str(error))
        counted = {}
    for name in sorted(set(counted) - indexed):
        yield Problem("missing", name, f"stats.json counts {counted[name]} clips in it, and its index is gone")
    for file in folder.names(SHARDS):
        name = file.removesuffix(TAR)
        if file.endswith(TAR) and name not in indexed and name not in counted:
            yield Problem("index", name, f"it has no {INDEX}: its clips do not count")


def _of_the_shard(folder: Folder, shard: Shard) -> Iterator[Problem]:
    """The index against itself, and against the length and the end of the shard."""
    index, size = shard.index, folder.size(shard.tar)
    finished = not shard.tar.endswith(PART)
    if index.damaged:
        yield Problem("index", shard.name, f"{index.damaged} of its lines are damaged: those clips do not count")
    if size is None:
        yield Problem("missing", shard.name, f"{shard.tar} is gone, with {len(index.entries)} clips")
        return
    end = 0
    for entry in index.entries:
        if entry.start != end:
            yield Problem("index", shard.name, f"bytes [{end:,}, {entry.start:,}) belong to no clip: lines are lost")
        end = entry.end
    if not finished:
        return
    if index.closing is None:
        yield Problem("index", shard.name, "its last line is missing: it was cut off")
    elif index.closing["clips"] != len(index.entries):
        yield Problem("index", shard.name, f"{len(index.entries)} clips of {index.closing['clips']} are in it")
    wanted = end + len(tar.END)
    if size < wanted:
        yield Problem("truncated", shard.name, f"{size:,} bytes of {wanted:,}")
    elif size > wanted:
        yield Problem("changed", shard.name, f"{size - wanted:,} bytes too long")
    elif folder.read_bytes(shard.tar, end, size) != tar.END:
        yield Problem("changed", shard.name, "the end of the archive is damaged")


def _of_the_clip(folder: Folder, shard: Shard, entry: Entry, settings: DatasetSettings, size: int) -> Problem | None:
    """A clip's bytes, headers and padding among them, against its line in the index."""
    if not size:
        return Problem("missing", shard.name, "its shard is gone", entry.key)
    if size < entry.end:
        return Problem("truncated", shard.name, f"it ends at byte {entry.end:,} of {size:,}", entry.key)
    try:
        for name, offset, num_bytes, sha256 in _members(entry):
            head = tar.header(name, num_bytes)
            if folder.read_bytes(shard.tar, offset - len(head), offset) != head:
                return Problem("changed", shard.name, f"the archive's header of {name} is damaged", entry.key)
            if _hash(folder.blocks(shard.tar, offset, offset + num_bytes)) != sha256:
                return Problem("changed", shard.name, f"the bytes of {name} are not those that were written", entry.key)
            tail = tar.padding(num_bytes)
            if folder.read_bytes(shard.tar, offset + num_bytes, offset + num_bytes + len(tail)) != tail:
                return Problem("changed", shard.name, f"the bytes behind {name} are damaged", entry.key)
        for segment in entry.segments:
            label = _fingerprint(folder, shard.tar, segment.offset)
            if label != settings.fingerprint:
                reason = f"it is of the autoencoder {label}, the dataset of {settings.fingerprint}"
                return Problem("fingerprint", shard.name, reason, entry.key)
    except LatentFileError as error:
        return Problem("truncated", shard.name, str(error), entry.key)
    return None


def _members(entry: Entry) -> Iterator[tuple[str, int, int, str]]:
    for number, segment in enumerate(entry.segments):
        yield tar.segment_name(entry.key, number), segment.offset, segment.num_bytes, segment.sha256
    yield tar.meta_name(entry.key), *entry.meta


def _hash(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _fingerprint(folder: Folder, name: str, offset: int) -> str:
    """What a segment, whose bytes are known to be right, says that it is of."""
    length = int.from_bytes(folder.read_bytes(name, offset, offset + 8), "little")
    labels = json.loads(folder.read_bytes(name, offset + 8, offset + 8 + length)).get("__metadata__", {})
    return str(labels.get("fingerprint", "unknown"))
