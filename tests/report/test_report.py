"""Side-by-side pictures, stills and the page of one clip."""

import json
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from vidlatent.io import write_video
from vidlatent.report import Panels, Stills, clip_page, one_clip


@pytest.mark.parametrize("size", [(48, 80), (31, 33), (1, 1), (20, 2000)])
def test_panels_hold_both_frames_and_their_difference(size: tuple[int, int]) -> None:
    panels = Panels(size=size, captions=("original", "model", "error x5"), error_gain=5)
    original = torch.randint(0, 200, (2, *size, 3), dtype=torch.uint8)
    frames = panels.compose(original, original + 10)
    T, H, W, _ = frames.shape
    assert (T, H % 2, W % 2) == (2, 0, 0)
    assert W <= 3840
    place = panels.layout
    if 3 * size[1] < 3840:
        for index, want in enumerate((original, original + 10, torch.full_like(original, 50))):
            left = index * (place["width"] + place["gap"])
            shown = frames[:, place["top"] : place["top"] + place["height"], left : left + place["width"]]
            torch.testing.assert_close(shown, want)


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 100])
def test_stills_are_few_and_spread(length: int) -> None:
    stills = Stills(count=4)
    for start in range(0, length, 3):
        stills.add(torch.zeros(min(3, length - start), 16, 16, 3, dtype=torch.uint8))
    numbers = [number for number, _ in stills.chosen()]
    assert numbers[0] == 0
    assert len(numbers) == min(length, 4)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] >= (length - 1) // 2


@pytest.mark.parametrize("length", [1, 2, 5000])
def test_the_page_of_a_clip_stands_alone(length: int, tmp_path: Path) -> None:
    stills = Stills(count=2)
    panels = Panels(size=(16, 16), captions=("original", "<model>", "error x5"), error_gain=5)
    frames = panels.compose(*torch.zeros(2, 5, 16, 16, 3, dtype=torch.uint8))
    stills.add(frames)
    video = write_video(tmp_path / "v.mp4", frames, fps=Fraction(25))
    values = [30.0 + (k % 7) for k in range(length)]
    page = clip_page("<clip>", {"PSNR": "31 & a bit"}, frame_psnr=values, stills=stills, video=video, panels=panels)
    HTMLParser().feed(page)
    assert "&lt;clip&gt;" in page
    assert "31 &amp; a bit" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    row = data["rows"][0]
    assert row["frames"] == length
    assert 1 <= len(row["frame_psnr"]) <= 2000
    assert f'id="media-{row["mp4"]}"' in page


def test_a_long_video_is_referred_to_and_not_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_clip, "_LARGEST_EMBEDDED", 10)
    panels = Panels(size=(16, 16), captions=("original", "model", "error x5"), error_gain=5)
    video = tmp_path / "v.mp4"
    video.write_bytes(bytes(11))
    page = clip_page("clip", {}, frame_psnr=[30.0], stills=Stills(count=1), video=video, panels=panels)
    assert '"src":"v.mp4"' in page
    assert "media-" not in page.split("<script>")[0]
