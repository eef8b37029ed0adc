"""Decoding in a child process: same clips, and hangs, crashes and errors become one VideoError."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from video_helpers import numbered_frames, read_all

from vidlatent.errors import InputError, VideoError
from vidlatent.io import isolated, write_video


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("isolated") / "a.mp4", numbered_frames(40), fps=10, num_threads=1)


def test_same_clips(clip_path: Path) -> None:
    clips = list(isolated(clip_path, timeout_seconds=60, stop=3, size=(16, 16), num_threads=1))
    frames, times = read_all(clip_path, stop=3, size=(16, 16))
    assert torch.equal(torch.cat([clip.frames for clip in clips]), frames)
    assert [at for clip in clips for at in clip.pts] == times


def test_errors_come_through(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("nothing")
    with pytest.raises(VideoError, match=r"text\.mp4: not a readable video"):
        list(isolated(tmp_path / "text.mp4", timeout_seconds=60))


def test_a_hang_ends(clip_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(VideoError, match=r"hangs: no frames within 0\.05 s"):
        list(isolated(clip_path, timeout_seconds=0.05))
    assert time.monotonic() - began < 10


def test_a_crash_names_its_signal(clip_path: Path) -> None:
    def crash() -> None:
        while not (found := [c.pid for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]):
            time.sleep(0.005)
        os.kill(found[0], signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    clips = isolated(clip_path, timeout_seconds=60)
    thread.start()
    with pytest.raises(VideoError, match=r"crashed \(signal 11\)"):
        list(clips)
    thread.join()


def test_closing_ends_the_child(clip_path: Path) -> None:
    clips = isolated(clip_path, timeout_seconds=60, chunk_frames=1)
    next(clips)
    clips.close()  # type: ignore[attr-defined]
    assert not [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]


def test_bad_timeout(clip_path: Path) -> None:
    with pytest.raises(InputError, match="timeout_seconds"):
        isolated(clip_path, timeout_seconds=0)
