"""What a dataset holds: its settings, its shards, and which copy of a clip counts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vidlatent.errors import LatentFileError
from vidlatent.latents.dataset.folder import Folder, open_folder
from vidlatent.latents.dataset.index import Entry, ShardIndex, pack_line, parse_index, unpack_line
from vidlatent.latents.dataset.payload import stats_of
from vidlatent.latents.dataset.settings import DatasetSettings
from vidlatent.latents.dataset.shard import INDEX, PART, TAR
from vidlatent.latents.dataset.stats import ChannelStats

SETTINGS_FILE, STATS_FILE, SHARDS, QUARANTINE = "dataset.json", "stats.json", "shards", "quarantine"

_FILES_AT_ONCE = 64


@dataclass(frozen=True)
class Shard:
    """A shard and its index. `tar` is where its bytes are, under another name while they are being written."""

    name: str
    tar: str
    index: ShardIndex


def read_settings(folder: Folder) -> DatasetSettings | None:
    """A dataset's settings, None where there is no dataset.

    Raises:
        LatentFileError: `dataset.json` is damaged, or of a later version.
    """
    try:
        (text,) = folder.read([SETTINGS_FILE])
    except (FileNotFoundError, NotADirectoryError):
        return None
    return DatasetSettings.from_json(text, name=f"{folder}/{SETTINGS_FILE}")


def agree(folder: Folder, settings: DatasetSettings) -> None:
    """Begin a dataset of these settings, or hold them against those it has.

    Raises:
        LatentFileError: They differ; every difference is named.
    """
    there = read_settings(folder)
    if there is None:
        folder.create(SETTINGS_FILE, settings.to_json().encode())
        there = read_settings(folder)
        assert there is not None
    different = there.differences(settings)
    if different:
        raise LatentFileError(
            f"{folder}: holds latents made in another way: {'; '.join(different)} (its own -> asked for): "
            "choose another folder, or the settings it has"
        )


def iterate_shards(folder: Folder) -> Iterator[Shard]:
    """Every shard with an index, by name; what no index counts is not there."""
    names = folder.names(SHARDS)
    indices = [name for name in names if name.endswith(INDEX)]
    there = set(names)
    for first in range(0, len(indices), _FILES_AT_ONCE):
        group = indices[first : first + _FILES_AT_ONCE]
        for file, data in zip(group, _read_all(folder, group), strict=True):
            name = file.removesuffix(INDEX)
            suffix = PART if name + PART in there and name + TAR not in there else TAR
            if data is not None:
                yield Shard(name, f"{SHARDS}/{name}{suffix}", parse_index(data.splitlines(keepends=True)))


def _read_all(folder: Folder, names: list[str]) -> list[bytes | None]:
    """Files that may vanish while they are read: one that died before its first clip is tidied up by others."""
    paths = [f"{SHARDS}/{name}" for name in names]
    try:
        return list(folder.read(paths))
    except FileNotFoundError:
        return [_read_one(folder, path) for path in paths]


def _read_one(folder: Folder, path: str) -> bytes | None:
    try:
        return folder.read([path])[0]
    except FileNotFoundError:
        return None


def counted(shards: Iterable[Shard]) -> Iterator[tuple[Shard, tuple[Entry, ...]]]:
    """Each shard with those of its clips that count: of several copies of a key the first, by shard and position."""
    seen: set[str] = set()
    for shard in shards:
        fresh = []
        for entry in shard.index.entries:
            if entry.key not in seen:
                seen.add(entry.key)
                fresh.append(entry)
        yield shard, tuple(fresh)


def committed_keys(directory: str | os.PathLike[str]) -> set[str]:
    """Keys of all clips that any worker has durably committed; none where there is no dataset yet.

    A clip whose bytes were written but not committed is not among them, one committed twice counts once. `directory` is
    a path or a URL.
    """
    return {entry.key for shard in iterate_shards(open_folder(directory)) for entry in shard.index.entries}


def merged_stats(folder: Folder, settings: DatasetSettings) -> tuple[ChannelStats, dict[str, int]]:
    """Statistics over every clip that counts, from the shards' own where these are of the same clips.

    And the clips in each shard: what the statistics are of.
    """
    total = ChannelStats(int(settings.latent_spec["channels"]))
    clips = {}
    for shard, entries in counted(iterate_shards(folder)):
        clips[shard.name] = len(shard.index.entries)
        closing = shard.index.closing
        if closing is not None and len(entries) == closing["clips"]:
            total.merge(ChannelStats.from_json(closing["stats"]))
        else:
            total.merge(stats_of(folder, shard.tar, entries, settings))
    return total, clips


def write_stats(directory: str | os.PathLike[str]) -> ChannelStats:
    """Merge what all workers have committed and write it as `stats.json`; the merged statistics.

    Raises:
        LatentFileError: Not a dataset, or it cannot be written.
    """
    folder, settings = open_dataset(directory)
    stats, clips = merged_stats(folder, settings)
    folder.write(STATS_FILE, pack_line({**stats.summary(), "shards": clips}))
    return stats


def read_stats(folder: Folder) -> dict[str, Any] | None:
    """What `stats.json` says, None where there is none.

    Raises:
        LatentFileError: It is damaged.
    """
    try:
        (line,) = folder.read([STATS_FILE])
    except FileNotFoundError:
        return None
    record = unpack_line(line)
    if record is None:
        raise LatentFileError(f"{folder}/{STATS_FILE}: has changed since it was written")
    return record


def open_dataset(directory: str | os.PathLike[str]) -> tuple[Folder, DatasetSettings]:
    """A dataset's folder and settings.

    Raises:
        LatentFileError: No dataset is there, or its `dataset.json` is damaged or of a later version.
    """
    folder = open_folder(directory)
    settings = read_settings(folder)
    if settings is None:
        raise LatentFileError(f"{folder}: a folder without {SETTINGS_FILE}, or none: not a latent dataset")
    return folder, settings
