"""Taking what is damaged out of a dataset, so that what is left is whole and the rest can be encoded again.

A damaged shard is never changed. Its good clips are copied to a new one, then it goes to `quarantine/`, index first; at
whatever point this stops, every good clip counts once and a second run completes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from vidlatent.latents.dataset.catalog import QUARANTINE, SHARDS, open_dataset, write_stats
from vidlatent.latents.dataset.folder import Folder, LocalFolder
from vidlatent.latents.dataset.shard import INDEX, TAR
from vidlatent.latents.dataset.verify import Problem, Progress, Verification, verify
from vidlatent.latents.dataset.writer import DatasetWriter, finish_abandoned


@dataclass
class Repair:
    """What was wrong before, the shards put aside, clips that were saved from them, and keys that count no more."""

    before: Verification
    finished: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    saved: int = 0
    lost: list[str] = field(default_factory=list)


def repair(directory: str | os.PathLike[str], *, progress: Progress | None = None) -> Repair:
    """Verify a dataset and put aside what is damaged; clips that are lost are for whoever has their source to encode.

    Shards of writers that died are finished, duplicates dropped, `stats.json` is written anew. Writers at work go on.

    Raises:
        LatentFileError: No dataset is there, its `dataset.json` is damaged, or it cannot be written.
    """
    folder, settings = open_dataset(directory)
    finished = finish_abandoned(folder, settings) if isinstance(folder, LocalFolder) else []
    done = Repair(verify(directory, progress=progress), finished)
    bad = sorted({problem.shard for problem in done.before.problems if _can_go(problem)} - set(done.before.unfinished))
    kept = {entry.key for name, entries in done.before.good.items() if name not in bad for entry in entries}
    with DatasetWriter(directory, settings, worker="repair", stats=False) as writer:
        for name in bad:
            for entry in done.before.good.get(name, []):
                done.saved += writer.adopt(folder, f"{SHARDS}/{name}{TAR}", entry)
    kept |= writer.keys
    for name in bad:
        for suffix in (INDEX, TAR):
            _put_aside(folder, f"{name}{suffix}")
        done.quarantined.append(name)
    done.lost = sorted({problem.key for problem in done.before.problems if problem.key} - kept)
    write_stats(directory)
    return done


def _can_go(problem: Problem) -> bool:
    """Whether it is about a shard, and not about the files that describe all of them."""
    return problem.shard not in ("dataset.json", "stats.json")


def _put_aside(folder: Folder, file: str) -> None:
    if folder.size(f"{SHARDS}/{file}") is not None:
        folder.move(f"{SHARDS}/{file}", f"{QUARANTINE}/{file}")
