"""The page of an evaluation in a real browser: no error, no network, it sorts, it wipes, it plays, it fits a phone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def page(browser: Any, page_path: Path) -> Iterator[Any]:
    """The page, open; anything that it logs, throws or asks of a network fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    opened.goto(page_path.as_uri())
    opened.wait_for_function("document.documentElement.dataset.ready === 'yes' && player.video.readyState >= 2")
    yield opened
    context.close()
    assert not wrong


def column(page: Any, index: int) -> list[str]:
    cells = page.locator(f"#ranking-table tbody tr > :nth-child({index})").all_inner_texts()
    return [re.sub(r"\s*1 failed", "", cell).strip() for cell in cells]


def pixels(page: Any, canvas: str) -> list[int]:
    """A few values from the left and the right end of the middle row."""
    script = """(id) => { const c = document.getElementById(id), g = c.getContext("2d");
        return [4, c.width - 4].flatMap((x) => [...g.getImageData(x, c.height / 2, 1, 1).data.slice(0, 3)]); }"""
    return page.evaluate(script, canvas)


def wait_for_frame(page: Any, frame: int) -> None:
    page.wait_for_function(f"player.drawn === {frame} && !player.video.seeking")


def test_the_table_sorts_both_ways(page: Any) -> None:
    heading = page.locator("#ranking-table thead th", has_text=re.compile("^PSNR dB"))
    heading.locator("button").click()
    falling = [float(text) for text in column(page, 2)]
    assert heading.get_attribute("aria-sort") == "descending"
    assert falling == sorted(falling, reverse=True)
    heading.locator("button").press("Enter")
    assert [float(text) for text in column(page, 2)] == falling[::-1]
    page.locator("#ranking-table thead th button").first.click()
    names = column(page, 1)
    assert names == sorted(names)


def test_the_wipe_shows_one_and_then_the_other(page: Any) -> None:
    page.click("#clip-table button[data-clip='1'][data-candidate='2']")
    page.wait_for_function("player.row.clip === 1 && player.row.candidate === 2 && player.video.readyState >= 2")
    wait_for_frame(page, 0)
    seen = {}
    for position in (0, 100, 50):
        page.locator("#wipe").fill(str(position))
        seen[position] = pixels(page, "wipe-canvas")
    assert seen[0][:3] != seen[100][:3]
    assert seen[0][3:] != seen[100][3:]
    assert seen[50] == seen[100][:3] + seen[0][3:]
    area = page.locator("#wipe-screen").bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.25, area["y"] + 40)
    page.mouse.up()
    assert abs(float(page.locator("#wipe").input_value()) - 25) < 2


def test_one_scrubber_moves_everything_and_keys_do_too(page: Any) -> None:
    page.locator("#scrub").fill("6")
    wait_for_frame(page, 6)
    sixth = pixels(page, "error-canvas"), pixels(page, "wipe-canvas")
    assert page.locator("#readout").inner_text().startswith("frame 6:")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, 7)
    assert (pixels(page, "error-canvas"), pixels(page, "wipe-canvas")) != sixth
    page.keyboard.press("2")
    page.wait_for_function("player.row.candidate === 1 && player.video.readyState >= 2")
    wait_for_frame(page, 7)
    page.keyboard.press("Space")
    page.wait_for_function("!player.video.paused && player.frame !== 7")
    page.keyboard.press("Space")
    assert page.evaluate("player.video.paused")


def test_the_frame_in_the_video_is_the_one_that_is_named(page: Any, page_path: Path) -> None:
    """Every frame of the pattern is another picture: what is drawn at frame k differs from that at its neighbours."""
    seen = []
    for frame in range(9):
        page.locator("#scrub").fill(str(frame))
        wait_for_frame(page, frame)
        seen.append(tuple(pixels(page, "wipe-canvas")))
    assert len(set(seen)) == 9
    assert page.evaluate("Math.abs(player.video.duration - 9 / 25) < 0.01")


def test_worst_frames_lead_to_the_player(page: Any) -> None:
    pictures = page.locator("#worst-gallery button")
    assert pictures.count() == 6
    assert all(page.evaluate("[...document.querySelectorAll('#worst-gallery img')].map((i) => i.naturalWidth > 0)"))
    pictures.nth(3).click()
    caption = pictures.nth(3).inner_text()
    frame = int(re.search(r"frame (\d+)", caption)[1])  # type: ignore[index]
    wait_for_frame(page, frame)


def test_charts_are_drawn_and_failures_told(page: Any) -> None:
    for name in ("rate", "speed", "frames", "group", "spectrum", "latent", "eigen"):
        assert page.locator(f"#chart-{name} svg path").count() >= 1, name
    assert "short.mp4" in page.locator("#failed").inner_text()
    assert "has 3 frames" in page.locator("#failed").inner_text()
    assert page.locator("#clip-table .failed").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(browser: Any, page_path: Path, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(page_path.as_uri())
    opened.wait_for_function("document.documentElement.dataset.ready === 'yes'")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    colours = opened.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")
    assert abs(brightness[0] - brightness[1]) > 500
    opened.click("#theme")
    swapped = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert swapped != colours[1]
    context.close()


def test_the_data_of_the_page_is_plain_json(page_path: Path) -> None:
    text = page_path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert {candidate["candidate"] for candidate in data["candidates"]} == {"narrow", "bicubic@2", "h264@0.5"}
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
