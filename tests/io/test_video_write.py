"""What is written reads back: count, size, rate, times, colours; and nothing torn is left."""

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_helpers import numbered_frames, numbers, read_all, smooth_frames

from vidlatent.errors import InputError, VideoError
from vidlatent.io import VideoWriter, open_video, to_float, write_video

KINDS = [
    (".mp4", "h264"), (".mp4", "h265"), (".mp4", "av1"), (".mp4", "vp9"), (".mov", "h264"), (".mkv", "h264"),
    (".mkv", "h265"), (".mkv", "vp9"), (".mkv", "av1"), (".webm", "vp9"), (".webm", "av1"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_round_trip(tmp_path: Path, suffix: str, codec: str, size: tuple[int, int]) -> None:
    frames = smooth_frames(12, *size)
    path = tmp_path / f"a{suffix}"
    write_video(path, frames, fps=Fraction(30000, 1001), codec=codec, crf=4, num_threads=1)  # type: ignore[arg-type]
    got, times = read_all(path, colour="exact")
    assert got.shape == frames.shape
    exact = suffix in (".mp4", ".mov")
    assert all(abs(at - Fraction(1001 * k, 30000)) <= (0 if exact else Fraction(1, 2000)) for k, at in enumerate(times))
    error = (got.float() - frames.float()).abs()
    assert error.mean() < 1.3
    assert error.max() <= 12
    assert (got.float() - frames.float()).mean((0, 1, 2)).abs().max() < 0.9
    with open_video(path) as source:
        spec = source.spec
    assert (spec.matrix, spec.range, spec.matrix_is_assumed) == ("bt709", "limited", False)
    assert spec.fps == Fraction(30000, 1001)
    if exact:
        assert spec.num_frames == 12
        assert spec.duration_seconds == Fraction(12 * 1001, 30000)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 16), (3, 500), (16, 16)])
def test_any_size_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = smooth_frames(3, *size)
    got, _ = read_all(write_video(tmp_path / "a.mp4", frames, fps=5, num_threads=1), colour="exact")
    assert got.shape == frames.shape
    assert (got.float() - frames.float()).abs().mean() < 5


@pytest.mark.parametrize(
    "fps", [1, 24, 29.97, Fraction(24000, 1001), 59.94, 119.88, Fraction(1, 3), Fraction(2997, 125)]
)
def test_rates_are_exact(tmp_path: Path, fps: float) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(5), fps=fps, num_threads=1)
    _, times = read_all(path)
    assert times[1] in (1 / Fraction(fps), Fraction(1001, 30000), Fraction(1001, 60000), Fraction(1001, 120000))
    assert times == [k * times[1] for k in range(5)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=20))
def test_variable_rates_keep_their_times(tmp_path: Path, gaps: list[int]) -> None:
    stamps = [Fraction(sum(gaps[:k]), 90_000) for k in range(len(gaps) + 1)]
    path = write_video(
        tmp_path / "a.mp4", numbered_frames(len(stamps)), fps=25, pts_seconds=iter(stamps), num_threads=1
    )
    frames, times = read_all(path)
    assert times == stamps
    assert numbers(frames) == list(range(len(stamps)))


def test_equal_times_are_moved_apart(tmp_path: Path) -> None:
    stamps = [Fraction(0), Fraction(0), Fraction(0), Fraction(1)]
    path = write_video(tmp_path / "a.mp4", numbered_frames(4), fps=25, pts_seconds=stamps, num_threads=1)
    _, times = read_all(path)
    assert len(set(times)) == 4
    assert times[2] < Fraction(1, 10_000)
    assert times[3] == 1


@pytest.mark.parametrize("height", [100, 720])
def test_colours_are_what_ffmpeg_reads(tmp_path: Path, run_ffmpeg: Callable[..., Path], height: int) -> None:
    patches = [(200, 50, 50), (30, 180, 40), (20, 60, 230), (128, 128, 128), (0, 0, 0), (255, 255, 255)]
    frames = torch.tensor(patches, dtype=torch.uint8).view(6, 1, 1, 3).expand(6, height, 64, 3)
    path = write_video(tmp_path / "a.mp4", frames, fps=5, crf=5, num_threads=1)
    filters = "scale=in_color_matrix=bt709:in_range=limited:flags=accurate_rnd+full_chroma_int"
    raw = run_ffmpeg("-i", str(path), "-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo", "a.rgb").read_bytes()
    theirs = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(6, height, 64, 3)
    ours, _ = read_all(path)
    for got in (ours, theirs):
        assert (got.int() - frames.int()).abs().max() <= 3


def test_float_clips_and_iterators(tmp_path: Path) -> None:
    frames = smooth_frames(9, 32, 48)
    whole = write_video(tmp_path / "whole.mp4", frames, fps=10, num_threads=1)
    parts = write_video(
        tmp_path / "parts.mp4", (to_float(frames[k : k + 2]) for k in range(0, 9, 2)), fps=10, num_threads=1
    )
    # x264 is not repeatable on pictures this small (its lookahead reads beyond their edge), so not bit for bit.
    assert (read_all(whole)[0].float() - read_all(parts)[0].float()).abs().max() <= 8
    with open_video(whole) as source:
        copied = write_video(tmp_path / "copied.mp4", source, fps=source.spec.fps, num_threads=1)
    assert len(read_all(copied)[0]) == 9


def test_crf_changes_the_size(tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    sizes = [
        write_video(tmp_path / "a.mp4", frames, fps=10, crf=crf, num_threads=1).stat().st_size for crf in (10, 30, 50)
    ]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]


def test_gif(tmp_path: Path) -> None:
    frames = smooth_frames(10, 33, 47)
    path = write_video(tmp_path / "a.gif", frames, fps=20)
    got, times = read_all(path)
    assert got.shape == frames.shape
    assert times == [Fraction(k, 20) for k in range(10)]
    assert (got.float() - frames.float()).abs().mean() < 6
    assert b"NETSCAPE2.0" in path.read_bytes()


def test_an_error_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbered_frames(3), fps=5, num_threads=1)
    before = path.read_bytes()

    def broken() -> Iterator[torch.Tensor]:
        yield numbered_frames(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, broken(), fps=5, num_threads=1)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=10, num_threads=1) as writer:
        writer.write(numbered_frames(5))
        assert not path.exists()
        assert writer.num_frames == 5
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(InputError, match="closed"):
        writer.write(numbered_frames(1))


def test_the_index_comes_first(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", numbered_frames(5), fps=5, num_threads=1).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_writing_from_threads(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            write_video(tmp_path / name, numbered_frames(20), fps=10, num_threads=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"{k}.mp4",)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(len(read_all(tmp_path / f"{k}.mp4")[0]) == 20 for k in range(3))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.mp4", {"codec": "gif"}, r"codec='gif' does not go into \.mp4\. Allowed are \.mp4: h264, h265"),
        ("a.webm", {"codec": "h264"}, r"\.webm: vp9, av1"),
        ("a.flv", {}, r"'\.flv'.*Allowed are"),
        ("a", {}, "Allowed are"),
        ("a.mp4", {"crf": 52}, "0 .best. to 51"),
        ("a.gif", {"crf": 5}, "no quality"),
        ("a.mp4", {"fps": 0}, "fps"),
        ("nowhere/a.mp4", {}, "folder .* does not exist"),
        ("a.gif", {"audio_from": "b.mp4"}, "no sound"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_video(tmp_path / name, numbered_frames(2), **{"fps": 5, **options})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_bad_frames_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for frames, words in (
        (torch.zeros(2, 8, 8, 4, dtype=torch.uint8), "uint8"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.int32), "uint8"),
        (torch.zeros(2, 0, 8, 3, dtype=torch.uint8), "8x0"),
        (torch.zeros(0, 8, 8, 3, dtype=torch.uint8), "no frames"),
        (iter([numbered_frames(1), numbered_frames(1, height=64)]), "64x32 and now are 64x64"),
        (iter(()), "no frames"),
    ):
        with pytest.raises(InputError, match=words):
            write_video(path, frames, fps=5, num_threads=1)
    for stamps, words in (([0, 2, 1], "never decrease"), ([0, 1], "2 times for 3"), ([0, 1, 2, 3], "more times")):
        with pytest.raises(InputError, match=words):
            write_video(path, numbered_frames(3), fps=5, pts_seconds=[Fraction(s) for s in stamps], num_threads=1)
    assert list(tmp_path.iterdir()) == []


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(audio=0) if p.size and p.pts is not None]  # type: ignore[misc]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_audio_is_copied(tmp_path: Path, run_ffmpeg: Callable[..., Path], suffix: str) -> None:
    lavfi = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=4", "-f", "lavfi", "-i", "sine=duration=4"]
    source = run_ffmpeg(*lavfi, "-c:a", "aac", "source.mp4")
    path = tmp_path / f"out{suffix}"
    write_video(path, numbered_frames(20), fps=10, audio_from=source, audio_start=1, num_threads=1)
    copied, original = audio_packets(path), audio_packets(source)
    assert {data for _, data in copied} <= {data for _, data in original}
    assert 80 <= len(copied) <= 90  # two seconds of 1024 samples at 44.1 kHz
    when = {data: at for at, data in original}
    assert all(abs(when[data] - at - 1) <= Fraction(1, 500) for at, data in copied)
    frames, times = read_all(path)
    assert numbers(frames) == list(range(20))
    assert times[-1] == Fraction(19, 10)


def test_audio_that_does_not_fit_is_named(tmp_path: Path, run_ffmpeg: Callable[..., Path]) -> None:
    source = run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", "source.m4a")
    with pytest.raises(VideoError, match=r"\.webm cannot hold the aac audio"):
        write_video(tmp_path / "a.webm", smooth_frames(3, 64, 64), fps=5, audio_from=source, num_threads=1)
    silent = write_video(tmp_path / "silent.mp4", numbered_frames(3), fps=5, num_threads=1)
    with pytest.raises(VideoError, match="no audio stream"):
        write_video(tmp_path / "b.mp4", numbered_frames(3), fps=5, audio_from=silent, num_threads=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["silent.mp4", "source.m4a"]
