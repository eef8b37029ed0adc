"""Videos and images that lie in folders, with a caption beside each where there is one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from vidlatent.encode.sources.files import filesystem, is_url, open_binary, stamp
from vidlatent.encode.sources.row import ClipRow
from vidlatent.encode.sources.values import as_row

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv"),
    *(".ogv", ".3gp", ".y4m", ".mxf", ".vob", ".264", ".h264", ".265", ".h265", ".hevc", ".ivf", ".obu"),
    *(".gif", ".apng"),
)
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic")


def is_media(name: str) -> bool:
    """Whether a name ends as videos and images do."""
    return name.lower().endswith(VIDEOS + IMAGES)


def media_rows(paths: Iterable[str]) -> Iterator[ClipRow]:
    """A row for each video; `a.txt` beside `a.mp4` is its caption, `a.json` its caption, times and further columns."""
    for path in paths:
        if not is_media(path):
            continue
        try:
            yield as_row(path, _beside(os.path.splitext(path)[0]), stamp=stamp(path))
        except (OSError, ValueError) as error:
            yield ClipRow(path, problem=f"it or the text beside it cannot be read: {error}")


def _beside(stem: str) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if _exists(f"{stem}.json"):
        with open_binary(f"{stem}.json") as file:
            record = described(file.read())
    if _exists(f"{stem}.txt"):
        with open_binary(f"{stem}.txt") as file:
            record["caption"] = file.read().decode().strip()
    return record


def described(text: bytes) -> dict[str, Any]:
    """A JSON object; any other JSON value is kept under "json"."""
    value = json.loads(text)
    return value if isinstance(value, dict) else {"json": value}


def _exists(path: str) -> bool:
    return bool(filesystem(path).exists(path)) if is_url(path) else os.path.exists(path)
