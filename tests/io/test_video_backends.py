"""decord and imageio give the clips that PyAV gives, as far as they can."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_helpers import numbered_frames, numbers, read_all

from vidlatent.errors import MissingDependency, VideoError
from vidlatent.io import open_video, write_video


@pytest.fixture
def decord() -> None:
    pytest.importorskip("decord")


@pytest.mark.usefixtures("decord")
def test_decord_windows_and_rates(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(60), fps=Fraction(30000, 1001), num_threads=1)
    for options in ({}, {"start": 0.5, "stop": 1.5}, {"fps": 12}, {"start": 0.7, "fps": 50, "stop": 1}):
        frames, times = read_all(path, backend="decord", **options)
        expected, expected_times = read_all(path, **options)
        assert times == expected_times
        assert numbers(frames) == numbers(expected)


@pytest.mark.data
@pytest.mark.usefixtures("decord")
@pytest.mark.parametrize(
    "name",
    ["rot_90.mov", "non_zero_start_8s.mp4", "multistream_nasa.mp4", "bt601_full_range.mp4", "vfr_poolclip.mp4",
     "mpeg4_ucf.avi", "testsrc2_444_8bit_hevc.mp4"],
)  # fmt: skip
def test_decord_is_the_fast_path(data_dir: Path, name: str) -> None:
    frames, times = read_all(data_dir / "odd" / name, backend="decord", stop=2)
    expected, expected_times = read_all(data_dir / "odd" / name, colour="fast", stop=2)
    assert times == expected_times
    assert (frames.float() - expected.float()).abs().mean() < 0.5
    resized, _ = read_all(data_dir / "odd" / name, backend="decord", size=(48, 64), stop=1)
    expected, _ = read_all(data_dir / "odd" / name, colour="fast", size=(48, 64), stop=1)
    assert (resized.float() - expected.float()).abs().mean() < 0.5


@pytest.mark.data
@pytest.mark.usefixtures("decord")
def test_decord_says_what_it_cannot_do(data_dir: Path) -> None:
    with pytest.raises(VideoError, match="its edit list hides frames"):
        open_video(data_dir / "odd/discard_first_keyframe.mp4", backend="decord")
    with pytest.raises(VideoError, match=r'decord cannot read it.*backend="av"'):
        open_video(data_dir / "odd/av1_video.mkv", backend="decord")
    with pytest.raises(VideoError, match="encrypted"):
        open_video(data_dir / "odd/encrypted_av1_cbcs.mp4", backend="decord")


def test_a_missing_backend_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(2), fps=5, num_threads=1)
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MissingDependency, match=r"vidlatent\[decord\]"):
        open_video(path, backend="decord")


def test_imageio_reads_animated_webp(tmp_path: Path) -> None:
    frames = [np.full((40, 60, 3), 50 * k, dtype=np.uint8) for k in range(4)]
    images = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / "a.webp"
    images[0].save(path, save_all=True, append_images=images[1:], duration=[40, 80, 100, 40], lossless=True)
    got, times = read_all(path, backend="imageio")
    assert np.array_equal(got.numpy(), np.stack(frames))
    assert times == [Fraction(0), Fraction(1, 25), Fraction(3, 25), Fraction(11, 50)]
    shown, _ = read_all(path, backend="imageio", fps=50)
    assert len(shown) == 13
    with pytest.raises(VideoError, match=r"animated WebP.*imageio"):
        open_video(path)
    with pytest.raises(VideoError, match=r"60x40 .* max_pixels=100"):
        open_video(path, backend="imageio", max_pixels=100)


@pytest.mark.data
def test_imageio_and_av_agree_on_a_gif(data_dir: Path) -> None:
    frames, times = read_all(data_dir / "odd/newtonscradle.gif", backend="imageio")
    expected, expected_times = read_all(data_dir / "odd/newtonscradle.gif")
    assert times == expected_times
    assert torch.equal(frames, expected)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_still_images_are_clips_of_one_frame(tmp_path: Path, suffix: str) -> None:
    picture = np.kron(
        np.random.default_rng(0).integers(0, 256, (3, 4, 1), dtype=np.uint8), np.ones((16, 16, 3), np.uint8)
    )
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}")
    frames, times = read_all(tmp_path / f"a.{suffix}")
    assert frames.shape == (1, 48, 64, 3)
    assert times == [0]
    assert (frames[0].float() - torch.from_numpy(picture).float()).abs().mean() < 3


def test_transparent_png_is_laid_over_black(tmp_path: Path) -> None:
    picture = np.full((8, 8, 4), (200, 100, 50, 0), dtype=np.uint8)
    picture[:, 4:, 3] = 128
    Image.fromarray(picture).save(tmp_path / "a.png")
    frames, _ = read_all(tmp_path / "a.png")
    assert frames[0, 0, 0].tolist() == [0, 0, 0]
    assert frames[0, 0, 7].tolist() == [100, 50, 25]
