"""Side-by-side pictures, stills and the page."""

import re
from html.parser import HTMLParser

import pytest
import torch

from vidlatent.report import Panels, Stills, clip_page


@pytest.mark.parametrize("size", [(48, 80), (31, 33), (1, 1), (20, 2000)])
def test_panels_hold_both_frames_and_their_difference(size: tuple[int, int]) -> None:
    panels = Panels(size=size, captions=("original", "model", "error x5"), error_gain=5)
    original = torch.randint(0, 200, (2, *size, 3), dtype=torch.uint8)
    frames = panels.compose(original, original + 10)
    T, H, W, _ = frames.shape
    assert (T, H % 2, W % 2) == (2, 0, 0)
    assert W <= 3840
    if 3 * size[1] < 3840:
        top = panels._caption_rows
        for index, want in enumerate((original, original + 10, torch.full_like(original, 50))):
            left = index * (size[1] + 4)
            torch.testing.assert_close(frames[:, top : top + size[0], left : left + size[1]], want)


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
def test_the_page_stands_alone_in_both_colour_schemes(length: int) -> None:
    stills = Stills(count=2)
    stills.add(torch.zeros(5, 16, 16, 3, dtype=torch.uint8))
    values = [30.0 + (k % 7) for k in range(length)]
    page = clip_page(
        "<clip>", {"PSNR": "31 & a bit"}, frame_psnr=values, stills=stills, video="v.mp4", captions="a | b"
    )
    HTMLParser().feed(page)
    assert "&lt;clip&gt;" in page
    assert "31 &amp; a bit" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(src|href)=\"(?!data:|v\.mp4)", page)
    points = re.search(r'points="([^"]*)"', page)
    assert points
    assert 1 <= len(points[1].split()) <= 800
