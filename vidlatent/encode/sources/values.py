"""What tables write, as what a row means: times, cuts, captions, plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from vidlatent.encode.sources.row import ClipRow

PATHS = ("path", "video", "file_name", "filename", "video_path", "file", "url", "uri")
CAPTIONS = ("caption", "text", "prompt")
_STARTS = ("start", "start_seconds", "start_time")
_STOPS = ("stop", "stop_seconds", "end", "end_seconds", "end_time")
_CUTS = ("cuts", "scene_cuts")


def as_row(
    uri: str, record: Mapping[str, Any], *, stamp: str, part: Any = None, path_column: str = "", caption: str = ""
) -> ClipRow:
    """A row from a table's record; times that cannot be read become the row's `problem`, not an error of the run."""
    named = {key: first(record, names) for key, names in (("start", _STARTS), ("stop", _STOPS), ("cuts", _CUTS))}
    caption_column = caption or first(record, CAPTIONS)
    taken = {path_column, caption_column, *named.values()}
    kept = {key: plain(value) for key, value in record.items() if key not in taken}
    text = None if caption_column is None else record.get(caption_column)
    known: dict[str, Any] = {
        "uri": uri,
        "part": part,
        "stamp": stamp,
        "caption": None if text is None else str(text),
        "columns": {key: value for key, value in kept.items() if value is not None},
    }
    try:
        start, stop = (_seconds(record.get(named[key] or "")) for key in ("start", "stop"))
        cuts = _cuts(record.get(named["cuts"] or ""))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        return ClipRow(**known, problem=f"start, stop and cuts are seconds: {error}")
    if stop is not None and stop <= (start or 0):
        return ClipRow(**known, problem=f"it stops at {float(stop):g} s and starts at {float(start or 0):g} s")
    return ClipRow(**known, start=start, stop=stop, cuts=cuts)


def first(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of `names` that a record has."""
    return next((name for name in names if name in record), None)


def _seconds(value: Any) -> Fraction | None:
    """12.5, "12.5" or "1:02:03.5"; nothing for an empty cell. Decimals are what was meant: 0.1 is 1/10."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    total = Fraction(0)
    for part in str(value).split(":"):
        total = total * 60 + Fraction(part)
    if total < 0:
        raise ValueError(f"{value} is negative")
    return total


def _cuts(value: Any) -> tuple[Fraction, ...]:
    """A list of seconds, or a cell that holds one as JSON or with spaces between."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ()
    cuts = {_seconds(item) for item in value}
    return tuple(sorted(cut for cut in cuts if cut is not None))


def plain(value: Any) -> Any:
    """A cell as JSON can hold it: bytes and NaN are left out, what JSON does not know becomes text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)
