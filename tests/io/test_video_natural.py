"""All natural clips decode without a complaint to the frames their catalogue lists."""

import csv
from pathlib import Path

import pytest

from vidlatent.io import open_video

pytestmark = pytest.mark.data


def catalogue(data_dir: Path) -> list[dict[str, str]]:
    with open(data_dir / "SOURCES.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["file"].startswith("natural/")]


def check(data_dir: Path, row: dict[str, str]) -> None:
    with open_video(data_dir / row["file"], colour="fast", num_threads=1) as source:
        assert (source.spec.width, source.spec.height) == (int(row["width"]), int(row["height"])), row["file"]
        count = sum(clip.num_frames for clip in source)
    assert count == int(row["frames"]), row["file"]
    assert source.damage == [], row["file"]


def test_small_clips(data_dir: Path) -> None:
    rows = [row for row in catalogue(data_dir) if int(row["width"]) * int(row["height"]) * int(row["frames"]) < 3.2e7]
    assert len(rows) > 8
    for row in rows:
        check(data_dir, row)


@pytest.mark.slow
def test_all_clips(data_dir: Path) -> None:
    rows = catalogue(data_dir)
    assert len(rows) == 58
    for row in rows:
        check(data_dir, row)


def test_large_clips_begin_well(data_dir: Path) -> None:
    for name in ("test/fastvideo_motorcycle_2160p.mp4", "test/openh264_street_1080p.264"):
        with open_video(data_dir / "natural" / name, stop=0.2, size=64, num_threads=1) as source:
            assert sum(clip.num_frames for clip in source) >= 5
