"""A full disk and a folder that may not be written: the run stops, says so, and goes on when it may."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import vidlatent_cli_runner as runner
from click.testing import Result
from encode_helpers import assert_same, clips_of, encode, make_model, make_videos

from vidlatent.errors import LatentFileError
from vidlatent.latents.dataset import verify


def system(*command: object) -> bool:
    return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB; who may not mount one is let off, in CI too."""
    place = tmp_path / "disk"
    place.mkdir()
    if not system("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place):
        pytest.skip("no leave to mount a tmpfs here")
    yield place
    assert system("umount", "-l", place)  # lazily: what was read is still mapped


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"), 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m.safetensors")


def run(source: Path, out: Path, model: Path) -> Result:
    options = ("--frames", 8, "--tail", "keep", "--decoders", 1, "--device", "cpu", "--dtype", "float32")
    return runner.run("encode-dataset", source, "-o", out, "--model", model, *options)


def check(out: Path, videos: Path, model: Path, whole: Path) -> None:
    encode(videos, whole, model, dtype="float32")
    assert_same(clips_of(out), clips_of(whole))
    assert verify(out).ok


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, videos: Path, model: Path
) -> None:
    out, ballast = small_disk / "out", small_disk / "ballast"
    ballast.write_bytes(bytes(400 * 2**10))
    with pytest.raises(LatentFileError, match="No space left on device"):
        encode(videos, out, model, dtype="float32", commit_seconds=0)
    for _ in range(2):  # it stops again as long as the disk is full
        stopped = run(videos, out, model)
        assert stopped.exit_code == 1
        assert "No space left on device: what was committed is safe, start again when there is room" in stopped.stderr
        assert "Traceback" not in stopped.stderr
    there = clips_of(out)
    assert 0 < len(there) < 24
    ballast.unlink()
    done = run(videos, out, model)
    assert done.exit_code == 0, done.stderr
    assert_same({key: clips_of(out)[key] for key in there}, there)
    check(out, videos, model, tmp_path / "whole")


def test_a_disk_that_is_full_from_the_start(small_disk: Path, videos: Path, model: Path) -> None:
    (small_disk / "out").mkdir()
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        while not file.closed:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    stopped = run(videos, small_disk / "out", model)
    assert stopped.exit_code == 1
    assert "No space left on device" in stopped.stderr


def test_a_folder_that_is_read_only(tmp_path: Path, small_disk: Path, videos: Path, model: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(videos / "000.mp4", few)
    assert run(few, small_disk / "out", model).exit_code == 0
    there = clips_of(small_disk / "out")
    shutil.copy(videos / "001.mp4", few)
    assert system("mount", "-o", "remount,ro", small_disk)
    stopped = run(few, small_disk / "out", model)
    assert stopped.exit_code == 1
    assert f"{small_disk}/out" in stopped.stderr
    assert "written" in stopped.stderr
    assert_same(clips_of(small_disk / "out"), there)  # what is there can be read
    fresh = run(few, small_disk / "new", model)
    assert fresh.exit_code == 1
    assert "cannot be written: Read-only file system" in fresh.stderr
    assert system("mount", "-o", "remount,rw", small_disk)
    assert run(few, small_disk / "out", model).exit_code == 0
    check(small_disk / "out", few, model, tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write(tmp_path: Path, videos: Path, model: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for out in (closed, closed / "new"):
        stopped = run(videos, out, model)
        assert stopped.exit_code == 1
        assert "written" in stopped.stderr
