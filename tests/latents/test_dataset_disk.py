"""Disks that are full, folders that may not be written, journals that are torn."""

import errno
import os
import resource
import shutil
import subprocess
from pathlib import Path

import dataset_helpers as helpers
import pytest

from vidlatent.errors import LatentFileError
from vidlatent.latents import DatasetWriter, LatentDataset, committed_keys
from vidlatent.latents.dataset import shard, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    helpers.write(folder, range(5))
    return folder


@pytest.mark.parametrize("room", [0, 100, 700, 2000, 5000, 12_000, 25_000])
def test_a_full_disk_stops_clearly_and_is_resumable(
    tmp_path: Path, whole: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = shard._write, [room]

    def until_full(file: object, data: bytes) -> None:
        fits = data[: left[0]]
        write(file, fits)  # type: ignore[arg-type]
        left[0] -= len(fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shard, "_write", until_full)
        with pytest.raises(LatentFileError, match="cannot be written: No space left on device: what was committed is"):
            helpers.write(tmp_path, range(5), commit_seconds=0)
    done = committed_keys(tmp_path)
    helpers.write(tmp_path, [number for number in range(5) if helpers.key(number) not in done])
    helpers.assert_same(tmp_path, whole)
    assert verify(tmp_path).ok


def test_a_writer_goes_on_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip that failed is cut off, half a journal line too."""
    with DatasetWriter(tmp_path, helpers.settings(), commit_seconds=0) as writer:
        writer.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
        write = shard._write
        for at in range(6):  # two members and a line of the journal for each of two clips
            count = iter(range(at, -1, -1))

            def full(file: object, data: bytes, count: object = count) -> None:
                if next(count) == 0:  # type: ignore[call-overload]
                    write(file, data[: len(data) // 2])  # type: ignore[arg-type]
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                write(file, data)  # type: ignore[arg-type]

            with monkeypatch.context() as patch:
                patch.setattr(shard, "_write", full)
                with pytest.raises(LatentFileError, match="No space left"):
                    _add(writer, range(1 + 2 * at, 3 + 2 * at))
        _add(writer, range(90, 91))
    keys = set(LatentDataset(tmp_path).keys)
    assert {helpers.key(0), helpers.key(90)} <= keys
    assert keys == writer.keys
    assert verify(tmp_path).ok


def _add(writer: DatasetWriter, numbers: range) -> None:
    for number in numbers:
        writer.add(helpers.key(number), helpers.latents(number), helpers.meta(number))


def test_a_file_system_that_refuses_to_grow(tmp_path: Path) -> None:
    """The system's own refusal, by a limit on the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    try:
        with pytest.raises(LatentFileError, match="cannot be written: File too large"):
            helpers.write(tmp_path, range(12), shard_bytes=2**30, commit_seconds=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    done = committed_keys(tmp_path)
    assert 0 < len(done) < 12
    helpers.write(tmp_path, [number for number in range(12) if helpers.key(number) not in done])
    assert verify(tmp_path).num_clips == 12


@pytest.mark.slow
def test_a_small_tmpfs(tmp_path: Path, whole: Path) -> None:
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no leave to mount a tmpfs here")
    try:
        with pytest.raises(LatentFileError, match="No space left on device"):
            helpers.write(tmp_path / "set", range(60), commit_seconds=0)
        done = committed_keys(tmp_path / "set")
        assert 0 < len(done) < 60
        shutil.copytree(tmp_path / "set", whole.parent / "moved")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    helpers.write(whole.parent / "moved", [number for number in range(60) if helpers.key(number) not in done])
    assert verify(whole.parent / "moved").num_clips == 60


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    places = [tmp_path / "file" / "set", Path("/proc/vidlatent/set")]
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed" / "set")
    for place in places:
        with pytest.raises(LatentFileError, match="cannot be written"):
            DatasetWriter(place, helpers.settings())


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_a_torn_journal_line_counts_for_nothing(tmp_path: Path, cut: int) -> None:
    writer = DatasetWriter(tmp_path, helpers.settings(), commit_seconds=0, stats=False)
    for number in range(3):
        writer.add(helpers.key(number), helpers.latents(number), helpers.meta(number))
    assert writer._shard is not None
    writer._shard.abandon()  # as a crash would
    journal = tmp_path / "shards" / "w0-00000.index.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert committed_keys(tmp_path) == {helpers.key(0), helpers.key(1)}
    found = verify(tmp_path)
    assert found.ok
    assert found.unfinished == ["w0-00000"]
    helpers.write(tmp_path, [2, 3])
    assert LatentDataset(tmp_path).keys == sorted(helpers.key(number) for number in range(4))
    assert verify(tmp_path).ok


def test_bytes_that_a_disk_lost_after_all_do_not_count_after_recovery(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, helpers.settings(), commit_seconds=0, stats=False)
    for number in range(3):
        writer.add(helpers.key(number), helpers.latents(number), helpers.meta(number))
    assert writer._shard is not None
    writer._shard.abandon()
    os.truncate(tmp_path / "shards" / "w0-00000.tar.part", writer._shard.end - 1000)
    assert [problem.kind for problem in verify(tmp_path).problems] == ["truncated"]
    helpers.write(tmp_path, [])
    assert committed_keys(tmp_path) == {helpers.key(0), helpers.key(1)}
    assert verify(tmp_path).ok
