"""Files that end too soon do not pass in silence, and whole ones raise no alarm."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from video_helpers import numbered_frames, numbers, read_all

from vidlatent.errors import VideoError
from vidlatent.io import DamagedVideoWarning, open_video, write_video


def written(tmp_path: Path, suffix: str) -> Path:
    path = tmp_path / f"whole{suffix}"
    write_video(path, numbered_frames(250), fps=25, num_threads=1)
    return path


def cut_off(path: Path, part: float) -> Path:
    data = path.read_bytes()
    short = path.with_name("short" + path.suffix)
    short.write_bytes(data[: int(len(data) * part)])
    return short


def frames_until_error(path: Path) -> tuple[list[int], str]:
    seen: list[int] = []

    def read() -> None:
        with open_video(path, num_threads=1) as source:
            for clip in source:
                seen.extend(numbers(clip.frames))

    with pytest.raises(VideoError) as caught:
        read()
    return seen, str(caught.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_cut_off_files_give_what_they_have_and_then_raise(tmp_path: Path, suffix: str) -> None:
    seen, message = frames_until_error(cut_off(written(tmp_path, suffix), 0.7))
    assert 20 < len(seen) < 240
    assert seen == list(range(len(seen)))
    assert "short" in message
    assert "on_damage" in message


def test_one_missing_second_is_noticed(tmp_path: Path) -> None:
    whole = written(tmp_path, ".mp4")
    seen, message = frames_until_error(cut_off(whole, 0.93))
    assert len(seen) > 150
    assert "cut off" in message or "does not decode" in message or "damaged" in message


def test_a_window_that_is_whole_is_no_error(tmp_path: Path) -> None:
    short = cut_off(written(tmp_path, ".mp4"), 0.7)
    frames, _ = read_all(short, start=0.5, stop=2)
    assert numbers(frames) == list(range(13, 50))


def test_policies(tmp_path: Path) -> None:
    short = cut_off(written(tmp_path, ".mp4"), 0.7)
    kept, _ = read_all(short, on_damage="keep")
    with pytest.warns(DamagedVideoWarning, match=r"short\.mp4: "):
        warned, _ = read_all(short, on_damage="warn")
    assert len(kept) == len(warned) > 50


def test_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    whole = written(tmp_path, ".mp4")
    data = bytearray(whole.read_bytes())
    for at in range(len(data) // 3, len(data) // 2, 97):
        data[at] ^= 0xFF
    (tmp_path / "flipped.mp4").write_bytes(data)
    seen, _ = frames_until_error(tmp_path / "flipped.mp4")
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov", ".gif"])
def test_whole_files_raise_no_alarm(tmp_path: Path, suffix: str) -> None:
    frames, _ = read_all(written(tmp_path, suffix))
    assert len(frames) == 250


def test_audio_longer_than_video_is_no_alarm(run_ffmpeg: Callable[..., Path], tmp_path: Path) -> None:
    video = written(tmp_path, ".mp4")
    tone = ["-f", "lavfi", "-i", "sine=duration=20"]
    for suffix in ("mp4", "mkv"):
        both = run_ffmpeg("-i", str(video), *tone, "-c:v", "copy", "-c:a", "aac", f"both.{suffix}")
        frames, _ = read_all(both)
        assert len(frames) == 250


def test_fragments_and_streams_raise_no_alarm(run_ffmpeg: Callable[..., Path], tmp_path: Path) -> None:
    video = written(tmp_path, ".mp4")
    fragmented = ["-movflags", "frag_keyframe+empty_moov"]
    for arguments in ([*fragmented, "f.mp4"], ["s.ts"], ["-bsf:v", "h264_mp4toannexb", "raw.264"]):
        path = run_ffmpeg("-i", str(video), "-c", "copy", *arguments)
        frames, times = read_all(path)
        assert numbers(frames) == list(range(250))
        assert times[-1] == Fraction(249, 25)


def test_the_original_is_not_touched(tmp_path: Path) -> None:
    whole = written(tmp_path, ".mp4")
    before = whole.read_bytes()
    shutil.copy(whole, tmp_path / "copy.mp4")
    read_all(tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == before
