"""Times, ranges, rates and turns of what comes out of `open_video`."""

import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_helpers import numbered_frames, numbers, read_all

from vidlatent.errors import InputError, VideoError
from vidlatent.io import open_video, write_video


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 numbered frames at 29.97 fps, B-frames, a key frame each 12."""
    path = tmp_path_factory.mktemp("counted") / "a.mp4"
    write_video(path, numbered_frames(90), fps=Fraction(30000, 1001), crf=20, num_threads=1)
    return path


def test_frames_and_times(counted: Path) -> None:
    frames, times = read_all(counted)
    assert numbers(frames) == list(range(90))
    assert times == [Fraction(1001 * k, 30000) for k in range(90)]


def test_spec(counted: Path) -> None:
    with open_video(counted) as source:
        spec = source.spec
    assert (spec.width, spec.height, spec.num_frames) == (64, 32, 90)
    assert spec.fps == Fraction(30000, 1001)
    assert spec.duration_seconds == Fraction(90 * 1001, 30000)
    assert (spec.codec, spec.pix_fmt, spec.rotation, spec.has_audio) == ("h264", "yuv420p", 0, False)
    assert "64x32" in repr(source)


def test_clips_have_the_chunk_size(counted: Path) -> None:
    with open_video(counted, chunk_frames=32) as source:
        clips = list(source)
    assert [clip.num_frames for clip in clips] == [32, 32, 26]
    assert [len(clip.pts) for clip in clips] == [32, 32, 26]
    assert repr(clips[0]) == "Clip(32 frames of 64x32, 0.000..1.034 s)"


def test_large_frames_make_short_clips(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", torch.zeros(3, 64, 64, 3, dtype=torch.uint8), fps=10)
    with open_video(tmp_path / "a.mp4", size=(8192, 11000)) as source:
        assert source._chunk_frames == 1
    for room, counts in ((64 * 64 * 3 * 2 + 5, [2, 1]), (1, [1, 1, 1])):
        with open_video(tmp_path / "a.mp4", chunk_bytes=room) as source:
            assert [clip.num_frames for clip in source] == counts


def test_each_iteration_starts_over(counted: Path) -> None:
    with open_video(counted, start=1) as source:
        next(iter(source))
        first = [numbers(clip.frames) for clip in source]
        second = [numbers(clip.frames) for clip in source]
    assert first == second
    assert first[0][0] == 30


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 100), length=st.integers(1, 60), offset=st.fractions(-1, 1, max_denominator=50))
def test_ranges_are_slices(counted: Path, start: int, length: int, offset: Fraction) -> None:
    step = Fraction(1001, 30000)
    begin = max(Fraction(0), (start + offset) * step)
    end = begin + length * step
    expected = [k for k in range(90) if begin <= k * step < end]
    if not expected:
        with pytest.raises(VideoError, match="no frame in"):
            read_all(counted, start=begin, stop=end)
        return
    frames, times = read_all(counted, start=begin, stop=end)
    assert numbers(frames) == expected
    assert times == [k * step for k in expected]


@pytest.mark.parametrize("fps", [7, 30, Fraction(60000, 1001), 100, 0.5])
def test_other_rates_show_the_frame_on_screen(counted: Path, fps: float) -> None:
    frames, times = read_all(counted, fps=fps, start=0.25)
    rate = Fraction(fps)
    assert times == [Fraction(1, 4) + k / rate for k in range(len(times))]
    assert numbers(frames) == [int((at + Fraction(1, 1000)) / Fraction(1001, 30000)) for at in times]
    assert times[-1] < Fraction(90 * 1001, 30000) <= times[-1] + 1 / rate + Fraction(1, 1000)


def test_seeking_does_not_read_the_beginning(tmp_path: Path) -> None:
    """The last second of a long clip with key frames costs a fraction of the clip."""
    write_video(tmp_path / "a.mp4", numbered_frames(600), fps=25, num_threads=1)
    with open_video(tmp_path / "a.mp4", start=23, num_threads=1) as source:
        events = list(source._reader.frames(Fraction(23)))
    assert len(events) <= 260  # x264 puts a key frame every 250 frames
    frames, _ = read_all(tmp_path / "a.mp4", start=23)
    assert numbers(frames) == list(range(575, 600))


def test_a_range_outside_names_the_duration(counted: Path) -> None:
    with pytest.raises(VideoError, match=r"it lasts 3\.003 s"):
        open_video(counted, start=100)
    with pytest.raises(VideoError, match=r"no frame in \[3.5, end\).*3\.003 s"):
        read_all(counted, start=3.5)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"start": 2, "stop": 1}, "stop must come after start"),
        ({"start": -1}, "start"),
        ({"fps": 0}, "fps"),
        ({"size": 0}, "size"),
        ({"fit": "pad", "size": 8}, "fit"),
        ({"backend": "opencv"}, "backend"),
        ({"chunk_frames": 0}, "chunk_frames"),
        ({"on_damage": "skip"}, "on_damage"),
        ({"colour": "nice"}, "colour"),
    ],
)
def test_bad_arguments_are_named(counted: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        open_video(counted, **options)  # type: ignore[arg-type]


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        open_video(tmp_path / "nothing.mp4")
    with pytest.raises(VideoError, match="a folder"):
        open_video(tmp_path)
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    with pytest.raises(VideoError, match=r"text\.mp4: not a readable video"):
        open_video(tmp_path / "text.mp4")


def test_size_and_resampling_together(counted: Path) -> None:
    with open_video(counted, fps=10, size=(16, 16), chunk_frames=7) as source:
        assert (source.height, source.width) == (16, 16)
        clips = list(source)
    assert {tuple(clip.frames.shape[1:]) for clip in clips} == {(16, 16, 3)}
    assert sum(clip.num_frames for clip in clips) == 31


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["odd/vfr_poolclip.mp4", "odd/vfr_flir_portrait.mp4", "odd/non_zero_start_8s.mp4", "odd/cat_key_clip.mp4",
     "odd/discard_first_keyframe.mp4", "odd/transparent_vp9.webm", "odd/newtonscradle.gif", "odd/mpeg4_ucf.avi",
     "odd/camtrap_1fps_106x60.avi", "odd/p_lost.264", "odd/fragmented_flower.mp4", "odd/av1_video.mkv",
     "odd/testsrc2_hdr.mp4", "odd/vfr_dup_pts_cat.mp4", "natural/train/mma_pool_256p.mp4",
     "natural/test/decord_pancake_240p.mkv", "natural/train/tra_cat_320p_vfr.mp4"],
)  # fmt: skip
def test_ranges_of_real_files_are_slices(data_dir: Path, name: str) -> None:
    options = {"size": (24, 32), "fit": "stretch", "colour": "fast"}
    frames, times = read_all(data_dir / name, **options)
    assert times == sorted(times)
    end = times[-1]
    for part in (Fraction(1, 3), Fraction(9, 10)):
        start, stop = end * part, end * part + end / 5
        inside = [k for k, at in enumerate(times) if start <= at < stop]
        window, window_times = read_all(data_dir / name, start=start, stop=stop, **options)
        assert window_times == [times[k] for k in inside]
        assert torch.equal(window, frames[inside])


@pytest.mark.data
def test_variable_rate_times_are_the_files(data_dir: Path) -> None:
    path = data_dir / "odd/vfr_flir_portrait.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        expected = [(stamp - stamps[0]) * stream.time_base for stamp in stamps]
    _, times = read_all(path, size=16)
    assert times == expected
    assert max(b - a for a, b in pairwise(times)) > 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("non_zero_start_8s.mp4", Fraction(127995, 15360)),
        ("fragmented_flower.mp4", Fraction(1001, 15000)),
        ("cat_key_clip.mp4", Fraction(99, 1000)),
    ],
)
def test_a_late_start_is_taken_off_and_kept_in_the_spec(data_dir: Path, name: str, start: Fraction) -> None:
    with open_video(data_dir / "odd" / name, size=16) as source:
        assert source.spec.start_seconds == start
        assert next(iter(source)).pts[0] == 0


@pytest.mark.data
def test_avi_with_b_frames_is_regular(data_dir: Path) -> None:
    _, times = read_all(data_dir / "odd/mpeg4_ucf.avi", size=16)
    assert times == [Fraction(k, 25) for k in range(164)]


def test_edit_list_hides_frames(counted: Path, run_ffmpeg: Callable[..., Path]) -> None:
    """A cut without re-encoding keeps whole groups of pictures; the edit list says where to begin."""
    cut = run_ffmpeg("-ss", "1.5", "-i", str(counted), "-c", "copy", "cut.mp4")
    with av.open(str(cut)) as container:
        stored = sum(packet.size > 0 for packet in container.demux(video=0))
    frames, times = read_all(cut)
    shown = numbers(frames)
    assert times[0] == 0
    assert abs(shown[0] - 45) <= 1
    assert shown == list(range(shown[0], 90))
    assert stored > len(shown)


def with_display_matrix(path: Path, target: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Copy an MP4, the track's display matrix replaced."""
    data = path.read_bytes()
    a, b, c, d = matrix
    one = 0x10000
    identity = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    turned = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 0x40000000)
    at = data.index(identity, data.index(b"tkhd"))
    target.write_bytes(data[:at] + turned + data[at + len(turned) :])
    return target


@pytest.mark.parametrize(
    ("matrix", "rotation", "mirrored"),
    [
        ((0, 1, -1, 0), 270, False), ((-1, 0, 0, -1), 180, False), ((0, -1, 1, 0), 90, False),
        ((-1, 0, 0, 1), 0, True), ((1, 0, 0, -1), 180, True),
    ],
)  # fmt: skip
def test_turned_as_ffmpeg_turns(
    counted: Path,
    run_ffmpeg: Callable[..., Path],
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    rotation: int,
    mirrored: bool,
) -> None:
    video = with_display_matrix(counted, tmp_path / "turned.mp4", matrix)
    raw = run_ffmpeg("-i", str(video), "-frames:v", "6", "-pix_fmt", "rgb24", "-f", "rawvideo", "a.rgb")
    with open_video(video, colour="fast", stop=0.2) as source:
        assert (source.spec.rotation, source.spec.mirrored) == (rotation, mirrored)
        (clip,) = source
    expected = torch.frombuffer(bytearray(raw.read_bytes()), dtype=torch.uint8).view(-1, source.height, source.width, 3)
    assert (clip.frames[: len(expected)].int() - expected.int()).abs().float().mean() <= 1


@pytest.mark.parametrize("suffix", ["ts", "mkv", "avi", "mov"])
def test_other_containers(counted: Path, run_ffmpeg: Callable[..., Path], suffix: str) -> None:
    copied = run_ffmpeg("-i", str(counted), "-c", "copy", f"a.{suffix}")
    frames, times = read_all(copied)
    assert numbers(frames) == list(range(90))
    assert all(abs(at - Fraction(1001 * k, 30000)) <= Fraction(1, 1000) for k, at in enumerate(times))


def test_interlaced_frames_stay_woven(run_ffmpeg: Callable[..., Path]) -> None:
    source = "testsrc2=size=64x64:rate=10:duration=1"
    flags = ["-flags", "+ilme+ildct", "-x264-params", "tff=1"]
    video = run_ffmpeg("-f", "lavfi", "-i", source, "-vf", "tinterlace=interleave_top", *flags, "a.mp4")
    with open_video(video) as opened:
        assert opened.spec.interlaced
        assert opened.spec.height == 64
    frames, _ = read_all(video)
    assert len(frames) == 5


def test_a_change_of_size_is_named(run_ffmpeg: Callable[..., Path], tmp_path: Path) -> None:
    parts = [
        run_ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10:duration=1", "-c:v", "libx264", f"{size}.264")
        for size in ("64x64", "96x64")
    ]
    joined = tmp_path / "joined.264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_video(joined) as source, pytest.raises(VideoError, match=r"from 64x64 to 96x64.*size=\(64, 64\)"):
        list(source)
    frames, _ = read_all(joined, size=(64, 64))
    assert len(frames) == 20
