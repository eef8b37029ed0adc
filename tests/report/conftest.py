"""A page of a small evaluation, and a browser to open it in."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import vidlatent
from vidlatent.autoencoders import save_checkpoint
from vidlatent.evaluate import Settings, evaluate
from vidlatent.report import write_evaluation_page


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    program = shutil.which("chromium")
    if program is None:
        message = "the chromium program is not installed"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips, one of them too short, through a narrow model and two baselines."""
    folder = tmp_path_factory.mktemp("page")
    clips = folder / "clips"
    clips.mkdir()
    for name, frames in (("first.mp4", 9), ("second.mp4", 9), ("short.mp4", 3)):
        t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(48), torch.arange(64), indexing="ij")
        planes = [torch.sin(0.3 * x + 0.2 * t), torch.cos(0.25 * y - 0.3 * t), torch.sin(0.1 * (x + y) + len(name))]
        vidlatent.write_video(clips / name, ((torch.stack(planes, -1) + 1) * 127.5).to(torch.uint8), fps=25)
    narrow = {"encoder_widths": (8, 8), "decoder_widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1, 1)}
    save_checkpoint(vidlatent.build("vidlatent-tiny", **narrow), folder / "narrow.safetensors")
    done = evaluate(
        clips,
        [str(folder / "narrow.safetensors")],
        folder / "out",
        baselines=["bicubic@2", "h264@0.5"],
        frames=9,
        size=(48, 64),
        settings=Settings(),
    )
    return write_evaluation_page(folder / "report.html", done.summary, done.rows, media=folder / "out" / "media")
