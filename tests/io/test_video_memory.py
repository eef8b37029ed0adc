"""Memory does not grow with a clip's length, read or written; files stay closed."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from video_helpers import numbered_frames, read_all

from vidlatent.io import open_video, write_video

WRITE = """
import sys, torch, psutil
from vidlatent.io import write_video
torch.set_num_threads(1)
def frames(count):
    for k in range(count): yield torch.full((1, 240, 320, 3), k % 256, dtype=torch.uint8)
process, peaks = psutil.Process(), []
for count in (200, 800):
    def watched():
        for k, f in enumerate(frames(count)):
            if k % 50 == 0: peaks.append((count, process.memory_info().rss))
            yield f
    write_video(sys.argv[1], watched(), fps=30, codec=sys.argv[2], num_threads=1)
short = max(rss for count, rss in peaks if count == 200)
print(max(rss for count, rss in peaks if count == 800) - short)
"""

READ = """
import sys, torch, psutil
from vidlatent.io import open_video
torch.set_num_threads(1)
process, rss = psutil.Process(), []
with open_video(sys.argv[1], num_threads=1) as source:
    for clip in source: rss.append(process.memory_info().rss)
print(max(rss[len(rss) // 4:]) - max(rss[: len(rss) // 4]))
"""


def grown_bytes(script: str, *arguments: str) -> int:
    command = [sys.executable, "-c", script, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.gif", "gif")])
def test_writing(tmp_path: Path, name: str, codec: str) -> None:
    assert grown_bytes(WRITE, str(tmp_path / name), codec) < 40 * 2**20  # the 600 more frames are 138 MB


def test_reading(tmp_path: Path) -> None:
    frames = (numbered_frames(50, height=240, width=320) for _ in range(14))
    path = write_video(tmp_path / "a.mp4", frames, fps=30, num_threads=1)
    assert grown_bytes(READ, str(path)) < 40 * 2**20  # the file is 161 MB of frames


def test_many_openings_keep_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(5), fps=30, num_threads=1)
    process = psutil.Process()
    for k in range(120):
        with open_video(path, num_threads=2) as source:
            if k % 2:
                next(iter(source))
        if k == 20:
            before = process.memory_info().rss, process.num_fds(), process.num_threads()
    after = process.memory_info().rss, process.num_fds(), process.num_threads()
    assert after[0] - before[0] < 20 * 2**20
    assert after[1] <= before[1]
    assert after[2] <= before[2]


def test_a_finished_iteration_closes_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(5), fps=30, num_threads=1)
    read_all(path)
    for _ in open_video(path, num_threads=1):
        pass
    assert str(path) not in {file.path for file in psutil.Process().open_files()}
