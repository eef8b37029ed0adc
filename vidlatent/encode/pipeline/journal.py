"""Which rows earlier runs were through with: a line each, in a file a worker, beside the dataset.

    progress/<worker>.jsonl   {"row": digest, "keys": [...], "time": ...}  and "path", "stage", "error" where it failed
    failures.jsonl            the failed rows of all of them, for people

A row that is not told of is only looked at again: what was encoded, the dataset's own index says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vidlatent.errors import LatentFileError
from vidlatent.latents.dataset.folder import Folder, LocalFolder, naming, open_folder

FOLDER, FAILURES = "progress", "failures.jsonl"


class Journal:
    """One worker's lines."""

    def __init__(self, directory: str, worker: str) -> None:
        self._folder = open_folder(directory)
        self._name = f"{FOLDER}/{worker}.jsonl"
        self._lines: list[str] = []
        if not isinstance(self._folder, LocalFolder):  # object stores do not append: the whole file is put again
            self._lines = [json.dumps(record) for record in _read(self._folder, self._name)]

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add lines durably. Raises `LatentFileError` where they cannot be written."""
        if not records:
            return
        lines = [json.dumps(record) for record in records]
        if isinstance(self._folder, LocalFolder):
            path = self._folder.path / self._name
            with naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    # A line before it that was torn ends here, and is read as torn.
                    file.write("".join(f"\n{line}\n" for line in lines).encode())
                    file.flush()
                    os.fsync(file.fileno())
        else:
            self._lines += lines
            self._folder.write(self._name, "\n".join(self._lines).encode())


def finished_rows(directory: str, committed: set[str], *, retry_failed: bool = False) -> set[str]:
    """Digests of rows that need not be looked at: all of their clips are committed, and none failed, or may again."""
    return {
        digest
        for digest, record in _latest(open_folder(directory)).items()
        if committed.issuperset(record["keys"]) and not (retry_failed and "error" in record)
    }


def write_failures(directory: str) -> list[Mapping[str, Any]]:
    """Write `failures.jsonl` anew from the journals of all workers; what it says.

    Written again while another worker adds to its journal, so that the last one to write tells all.
    """
    folder = open_folder(directory)
    while True:
        before = _sizes(folder)
        failures = [record for record in _latest(folder).values() if "error" in record]
        failures.sort(key=lambda record: (record["path"], record["time"]))
        lines = [json.dumps({name: value for name, value in record.items() if name != "keys"}) for record in failures]
        if failures or folder.size(FAILURES) is not None:
            folder.write(FAILURES, "".join(f"{line}\n" for line in lines).encode())
        if _sizes(folder) == before:
            return failures


def _sizes(folder: Folder) -> list[tuple[str, int | None]]:
    return [(name, folder.size(f"{FOLDER}/{name}")) for name in folder.names(FOLDER)]


def _latest(folder: Folder) -> dict[str, Mapping[str, Any]]:
    """The last word on each row."""
    latest: dict[str, Mapping[str, Any]] = {}
    for name in folder.names(FOLDER):
        for record in _read(folder, f"{FOLDER}/{name}"):
            known = latest.get(record["row"])
            if known is None or known["time"] <= record["time"]:
                latest[record["row"]] = record
    return latest


def _read(folder: Folder, name: str) -> Iterator[Mapping[str, Any]]:
    try:
        (text,) = folder.read([name])
    except FileNotFoundError:
        return
    yield from _whole(text.splitlines())


def _whole(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """Records of the lines that are whole; a torn one is what a crash leaves."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"row", "keys", "time"} <= set(record):
            yield record


def check_writable(directory: str) -> None:
    """Find out before the first clip whether a folder may be written to. Raises `LatentFileError`."""
    folder = open_folder(directory)
    if isinstance(folder, LocalFolder):
        with naming(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.path, os.W_OK | os.X_OK):
            raise LatentFileError(f"{directory}: may not be written to: give leave, or choose another folder")
