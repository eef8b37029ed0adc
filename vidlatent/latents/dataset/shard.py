"""One shard while it is written: a tar that grows, and the journal that says how much of it counts.

    NAME.tar.part + NAME.index.jsonl   ->   NAME.tar + NAME.index.jsonl

A clip counts once its line is in the journal, which is after its bytes are on disk. Whatever lies behind the last line
is cut off when the shard is taken up again. The journal is locked by who writes it, so that what a dead process left is
told from what a living one is at.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path

from vidlatent.errors import LatentFileError
from vidlatent.files import sync_folder
from vidlatent.latents.dataset import tar
from vidlatent.latents.dataset.folder import naming
from vidlatent.latents.dataset.index import Entry, Segment, ShardIndex, pack_line, parse_index
from vidlatent.latents.dataset.stats import ChannelStats

PART, TAR, INDEX = ".tar.part", ".tar", ".index.jsonl"


class ShardWriter:
    """Appends clips to a shard that nobody else writes.

    Args:
        folder: Where the shard lies.
        name: Of the shard; its files must not exist.
        channels: Of an autoencoder's latent, for the statistics.

    Raises:
        FileExistsError: The name is taken.
    """

    def __init__(self, folder: Path, name: str, *, channels: int) -> None:
        self.name, self._folder = name, folder
        self._journal = _claim_new(folder / f"{name}{INDEX}")
        try:
            self._part = (folder / f"{name}{PART}").open("xb", buffering=0)
        except BaseException:
            self._journal.close()
            (folder / f"{name}{INDEX}").unlink(missing_ok=True)
            raise
        self.stats = ChannelStats(channels)
        self.end = 0  # of the last whole clip
        self.num_clips = 0
        self._pending: list[Entry] = []

    @property
    def pending_bytes(self) -> int:
        """Bytes of whole clips that a crash would lose."""
        return self.end - self._pending[0].start if self._pending else 0

    @contextmanager
    def clip(self) -> Iterator[ClipAppender]:
        """Append a clip member by member; on an error nothing of it stays."""
        appender = ClipAppender(self._part, str(self._folder / f"{self.name}{TAR}"), self.end)
        try:
            yield appender
        except BaseException:
            with suppress(OSError):  # the journal has no line of this clip anyway
                self._part.truncate(self.end)
            raise

    def append(self, entry: Entry, stats: ChannelStats) -> None:
        """Take a clip that was written whole."""
        self._pending.append(entry)
        self.stats.merge(stats)
        self.end = entry.end
        self.num_clips += 1

    def commit(self) -> None:
        """Make every clip appended so far durable: first the bytes, then the lines that count them."""
        if not self._pending:
            return
        os.fsync(self._part.fileno())
        _append(self._journal, b"".join(entry.to_line() for entry in self._pending))
        sync_folder(self._folder)
        self._pending.clear()

    def close(self) -> bool:
        """Finish the shard and give it its name; False where it holds no clip and is gone."""
        try:
            self.commit()
            return _finish(self._folder, self.name, self._part, self._journal, self.end, self.num_clips, self.stats)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go as a crash would: what was committed stays."""
        for file in (self._part, self._journal):
            with suppress(OSError):
                file.close()


class ClipAppender:
    """Writes one clip's members behind each other."""

    def __init__(self, file: RawIOBase, name: str, start: int) -> None:
        self._file, self._name, self.start, self.end = file, name, start, start
        file.seek(start)

    def member(self, name: str, payload: bytes) -> tuple[int, int, str]:
        """Append a file to the archive; its offset, length and sha256."""
        head, tail = tar.header(name, len(payload)), tar.padding(len(payload))
        with naming(self._name):
            _write(self._file, b"".join((head, payload, tail)))  # one call, which small clips are many of
        offset = self.end + len(head)
        self.end = offset + len(payload) + len(tail)
        return offset, len(payload), hashlib.sha256(payload).hexdigest()

    def segment(self, name: str, payload: bytes, *, data: int, frames: int) -> Segment:
        """Append latent frames that begin at byte `data` of `payload`."""
        offset, num_bytes, digest = self.member(name, payload)
        return Segment(offset, num_bytes, offset + data, frames, digest)

    def copy(self, blocks: Iterator[bytes]) -> None:
        """Append a whole clip, headers and all, as it lies in another shard."""
        for block in blocks:
            with naming(self._name):
                _write(self._file, block)
            self.end += len(block)


def recover(folder: Path, name: str, *, stats_of: Callable[[Path, tuple[Entry, ...]], ChannelStats]) -> bool:
    """Finish a shard that a dead writer left; False where its writer lives, or where there is nothing to do.

    Args:
        folder: Where the shard lies.
        name: Of the shard.
        stats_of: Reads the statistics of clips out of a tar.
    """
    path, part = folder / f"{name}{INDEX}", folder / f"{name}{PART}"
    journal = _claim(path)
    if journal is None:
        return False
    with journal:
        index = parse_index(journal)
        if not part.exists():
            if not index.entries and not (folder / f"{name}{TAR}").exists():
                path.unlink()  # claimed, and nothing came of it
            return False
        journal.truncate(index.valid_bytes)
        with part.open("r+b", buffering=0) as file:
            if index.closing is None:
                entries = _on_disk(index, file)
                if len(entries) < len(index.entries):
                    journal.truncate(0)
                    _append(journal, b"".join(entry.to_line() for entry in entries))
                end = entries[-1].end if entries else 0
                return _finish(folder, name, file, journal, end, len(entries), stats_of(part, entries))
        part.replace(folder / f"{name}{TAR}")
        sync_folder(folder)
    return True


def _on_disk(index: ShardIndex, part: RawIOBase) -> tuple[Entry, ...]:
    """Entries whose bytes are there: a file system may lose what it said was safe."""
    size = part.seek(0, os.SEEK_END)
    return tuple(entry for entry in index.entries if entry.end <= size)


def _finish(
    folder: Path, name: str, part: RawIOBase, journal: RawIOBase, end: int, num_clips: int, stats: ChannelStats
) -> bool:
    if not num_clips:
        (folder / f"{name}{PART}").unlink()
        (folder / f"{name}{INDEX}").unlink()
        return False
    part.truncate(end)
    part.seek(end)
    _write(part, tar.END)
    os.fsync(part.fileno())
    _append(journal, pack_line({"end": end + len(tar.END), "clips": num_clips, "stats": stats.to_json()}))
    part.close()
    (folder / f"{name}{PART}").replace(folder / f"{name}{TAR}")
    sync_folder(folder)
    return True


def _append(journal: RawIOBase, lines: bytes) -> None:
    """Add lines durably, or none of them: half a line would spoil the next one."""
    end = journal.seek(0, os.SEEK_END)
    try:
        _write(journal, lines)
        os.fsync(journal.fileno())
    except BaseException:
        with suppress(OSError):
            journal.truncate(end)
        raise


def _write(file: RawIOBase, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


def _claim_new(path: Path) -> RawIOBase:
    file = path.open("x+b", buffering=0)
    try:
        if not _lock(file, new=True) or not path.exists():  # whoever tidies up came between the two
            raise FileExistsError(path)
    except BaseException:
        file.close()
        raise
    return file


def _claim(path: Path) -> RawIOBase | None:
    """Open a journal whose writer is gone; None where it lives, or where there is no journal any more."""
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LatentFileError(f"{path}: cannot be written: {error.strerror or error}") from error
    if _lock(file, new=False) and path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
        return file
    file.close()
    return None


def _lock(file: RawIOBase, *, new: bool) -> bool:
    """Whether nobody else has this file locked; a lock dies with its process.

    Where there are no locks, a new file is its maker's, and any other may be somebody's: it is left alone. Readers do
    not need it finished.
    """
    try:
        import fcntl
    except ImportError:
        return new
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return new
    return True
