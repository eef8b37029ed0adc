"""Seventy awkward files: each gives what a player shows, or one error that names it and the reason.

Frame counts and sizes agree with ffprobe -count_frames, but where a comment says otherwise.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidlatent.errors import VideoError
from vidlatent.io import DamagedVideoWarning, open_video

# name: (frames, width, height) after rotation
SHOWN = {
    "alpha_animated.avif": (48, 640, 480),  # the colour track, not the alpha track
    "animated.heic": (1, 64, 64),  # FFmpeg reads the first picture of a HEIC; ffprobe 5.1 none
    "av1_video.mkv": (125, 640, 360),
    "bt601_full_range.mp4": (60, 320, 240),
    "camtrap_1fps_106x60.avi": (61, 106, 60),
    "camtrap_1fps_80x60.avi": (15, 80, 60),
    "cat_key_clip.mp4": (222, 144, 80),
    "cockatoo_yuv444.mp4": (280, 1280, 720),
    "discard_first_keyframe.mp4": (25, 64, 64),  # 30 stored
    "field_HCAFF1.264": (10, 352, 288),
    "fragmented_flower.mp4": (150, 960, 540),
    "h264_10bits.mp4": (30, 200, 200),
    "h265_10bits.mp4": (30, 200, 200),
    "hevc_gbrp_1frame.mp4": (1, 320, 240),
    "issue245.gif": (1, 30, 24),
    "loop_forever.avif": (2, 128, 128),
    "mbaff_HCAMFF1.264": (10, 352, 288),
    "minimal.mp4": (1, 320, 240),
    "mpeg2_1frame.mp4": (1, 320, 240),
    "mpeg4_ucf.avi": (164, 320, 240),
    "multistream_nasa.mp4": (390, 480, 270),  # the larger of two video streams
    "newtonscradle.gif": (36, 200, 150),
    "non_zero_start_8s.mp4": (12, 200, 112),
    "odd_height_and_width_444.mp4": (25, 321, 241),
    "odd_height_and_width_444_10bit.mp4": (25, 321, 241),
    "odd_height_and_width_mpeg2.mp4": (10, 121, 81),
    "odd_height_and_width_vp9_10bit.mp4": (25, 321, 241),
    "odd_height_vp9.mp4": (25, 320, 241),
    "one_pixel.mp4": (5, 1, 1),
    "p_lost.264": (99, 176, 144),  # the decoder fills the gaps and flags nothing
    "pph10_10bit_natural.264": (10, 1280, 720),
    "prores_422.mov": (40, 180, 144),
    "rot_0.mov": (3, 568, 320),
    "rot_270.mov": (3, 320, 568),
    "rot_90.mov": (3, 320, 568),
    "rot_mp4parse_90.mp4": (1, 60, 100),
    "rot_nasa.mp4": (17, 270, 480),
    "rot_orientation.mp4": (2, 720, 1280),
    "single_1080p.webm": (1, 1920, 1080),
    "single_120fps.mov": (1, 1080, 1920),
    "single_hevc_white.mp4": (1, 640, 480),
    "testsrc2_12bit_hdr.mp4": (60, 320, 180),
    "testsrc2_444_12bit_hevc.mp4": (25, 321, 241),
    "testsrc2_444_8bit_hevc.mp4": (25, 321, 241),
    "testsrc2_av1_10bit.mp4": (25, 320, 240),
    "testsrc2_hdr.mp4": (60, 320, 180),
    "three_frames.avi": (3, 320, 240),
    "transparent_vp9.webm": (150, 200, 200),
    "vfr_dup_pts_cat.mp4": (180, 144, 80),
    "vfr_flir_portrait.mp4": (84, 1080, 1440),
    "vfr_poolclip.mp4": (32, 340, 256),
    "vp8_720p.webm": (30, 1280, 720),
    "vp9_gbrp_1frame.mkv": (1, 320, 240),
}

# name: what the message says
REFUSED = {
    "audio_only.avi": "no video stream: it holds audio",
    "audio_only.mp4": "no video stream: it holds audio",
    "audio_only_xheaac.mp4": "no video stream: it holds audio",
    "bomb_16383x16383.webp": "16383x16383 is .* pixels a frame, more than max_pixels",
    "chunk_out_of_range.mp4": "not a readable video",
    "dash_video_init.mp4": "no video frames: .* no data",
    "empty_0_bytes.webm": "the file is empty",
    "encrypted_av1_cbcs.mp4": r"encrypted \(cbcs\)",  # ffprobe decodes 24 frames of it
    "encrypted_cenc.mp4": r"encrypted \(cenc\)",
    "fragmented_3frames.mp4": "none of its 3 packets decodes",
    "header_only_231s.mp4": "no video frames: .* no data",
    "nonfragment_header.mp4": "no video frames: .* no data",
    "test_case_1185230.mp4": "none of its 3 packets decodes",
    "unknown_size.mkv": "no video stream: it holds audio",
}

# name: (good frames before the damage, what the message says, frames a player shows)
DAMAGED = {
    "corrupted_720p.mp4": (28, "a packet does not decode .* at 3.00 s", 49),
    "error_i_p.264": (0, "a frame is damaged at 0.00 s", 6),
    "truncated_46s.mkv": (1, "cut off: its header says 46.67 s", 1),
}

pytestmark = pytest.mark.data


def test_every_file_is_in_one_table(data_dir: Path) -> None:
    tables = [set(SHOWN), set(REFUSED), set(DAMAGED)]
    assert sum(map(len, tables)) == len(set.union(*tables)) == 70
    assert set.union(*tables) == {path.name for path in (data_dir / "odd").iterdir()}


@pytest.mark.parametrize("name", ["field_HCAFF1.264", "mbaff_HCAMFF1.264"])
@pytest.mark.parametrize("num_threads", [0, 2, 4])
def test_interlaced_frames_are_good_with_any_number_of_threads(data_dir: Path, name: str, num_threads: int) -> None:
    with open_video(data_dir / "odd" / name, num_threads=num_threads) as source:
        assert sum(clip.num_frames for clip in source) == SHOWN[name][0]
    assert source.damage == []


@pytest.mark.parametrize("name", SHOWN)
def test_shown(data_dir: Path, name: str) -> None:
    num_frames, width, height = SHOWN[name]
    count = 0
    last = -1.0
    with open_video(data_dir / "odd" / name, colour="fast", num_threads=1) as source:
        assert (source.spec.width, source.spec.height) == (width, height)
        for clip in source:
            assert clip.frames.shape == (len(clip.pts), height, width, 3)
            assert clip.frames.dtype == torch.uint8
            assert all(last <= at for at in clip.pts)
            assert count or clip.pts[0] == 0
            count, last = count + clip.num_frames, float(clip.pts[-1])
    assert count == num_frames
    assert source.damage == []
    if source.spec.duration_seconds is not None and name != "single_1080p.webm":  # 0.3 s shorter than its header says
        length = float(source.spec.duration_seconds)
        assert last - 0.001 <= length <= last + 4 / source.spec.fps + 0.05


@pytest.mark.parametrize("name", REFUSED)
def test_refused(data_dir: Path, name: str) -> None:
    with pytest.raises(VideoError, match=rf"{name}: .*{REFUSED[name]}") as caught:
        open_video(data_dir / "odd" / name, num_threads=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(data_dir: Path, name: str) -> None:
    good, reason, shown = DAMAGED[name]
    path = data_dir / "odd" / name
    options = {"size": (48, 64), "colour": "fast", "num_threads": 1}
    counts: list[int] = []
    with open_video(path, **options) as source, pytest.raises(VideoError, match=rf"{name}: {reason}"):  # type: ignore[arg-type]
        counts.extend(clip.num_frames for clip in source)
    assert sum(counts) == good
    with open_video(path, on_damage="keep", **options) as source:  # type: ignore[arg-type]
        assert sum(clip.num_frames for clip in source) == shown
        assert source.damage
    with open_video(path, on_damage="warn", **options) as source, pytest.warns(DamagedVideoWarning, match=reason):  # type: ignore[arg-type]
        assert sum(clip.num_frames for clip in source) == shown


def test_a_bomb_is_refused_in_little_memory(data_dir: Path) -> None:
    script = (
        "import sys, resource; from vidlatent.io import open_video; from vidlatent.errors import VideoError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: open_video(sys.argv[1])\n"
        "except VideoError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", script, str(data_dir / "odd/bomb_16383x16383.webp")]
    grown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert int(grown) * 1024 < 100 * 2**20


@pytest.mark.parametrize("name", ["rot_90.mov", "testsrc2_hdr.mp4", "newtonscradle.gif"])
def test_pixel_limit_holds_for_all_formats(data_dir: Path, name: str) -> None:
    with pytest.raises(VideoError, match="max_pixels=1,000"):
        open_video(data_dir / "odd" / name, max_pixels=1000)


def test_alpha_of_vp9_is_ignored(data_dir: Path) -> None:
    with open_video(data_dir / "odd/transparent_vp9.webm") as source:
        clip = next(iter(source))
    red, black = clip.frames[0, 105, 105], clip.frames[0, 5, 5]
    assert black.tolist() == [0, 0, 0] or red.tolist() == [0, 0, 0]
    assert source.spec.pix_fmt == "yuv420p"


def test_gif_transparency_is_black_where_nothing_was_drawn(data_dir: Path) -> None:
    with open_video(data_dir / "odd/issue245.gif") as source:
        (clip,) = source
    assert clip.frames[0, 0, -1].tolist() == [0, 0, 0]
    assert clip.frames.float().mean() > 30
