"""The frame of every page: one file with its style, its script, its data and its videos; it needs no network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from vidlatent.files import write_text

_DIGITS = 5


def page(title: str, body: str, data: Mapping[str, Any], media: Mapping[str, Path]) -> str:
    """HTML of a page.

    `data` is what the script draws, plain JSON. `media` are videos and pictures by key, embedded as base64; the script
    decodes one when it is asked for, so that a page with a hundred videos still opens at once.
    """
    assets = files("vidlatent.report") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # "</" would end the element that holds the data.
    text = json.dumps(_rounded(data), separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    embedded = "".join(
        f'<script type="text/plain" id="media-{escape(key)}">{base64.b64encode(path.read_bytes()).decode()}</script>\n'
        for key, path in media.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head><body>
{body}
<script type="application/json" id="data">{text}</script>
{embedded}<script>{script}</script>
</body></html>
"""


def write_page(path: Path, text: str) -> Path:
    """Write a page whole or not at all, and return its path."""
    return write_text(path, text)


PLAYER = """
<div class="player" id="player">
  <div class="stage">
    <figure><div class="screen" id="wipe-screen"><canvas id="wipe-canvas"></canvas><span id="wipe-line"></span>
      <span class="tag left">original</span><span class="tag right" id="candidate-tag"></span></div>
      <figcaption><label class="slider">wipe
        <input type="range" id="wipe" min="0" max="100" value="50" aria-label="Original to reconstruction">
      </label></figcaption></figure>
    <figure><div class="screen"><canvas id="error-canvas"></canvas><span class="tag left" id="error-tag"></span></div>
      <figcaption id="readout" aria-live="off"></figcaption></figure>
  </div>
  <div class="controls">
    <button id="play" type="button" aria-label="Play or pause">Play</button>
    <input type="range" id="scrub" min="0" max="0" value="0" aria-label="Frame">
    <output id="frame" for="scrub"></output>
  </div>
  <div class="chart" id="chart-frames"></div>
  <p class="hint"><kbd>Space</kbd> plays, <kbd>&larr;</kbd> <kbd>&rarr;</kbd> step a frame, drag over the picture to
  wipe<span class="many">, <kbd>1</kbd>&hairsp;&ndash;&hairsp;<kbd>9</kbd> choose a candidate</span>.</p>
</div>
"""


def _rounded(value: Any) -> Any:
    """Floats to a few significant digits: pages are large enough. What is no number becomes null."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
