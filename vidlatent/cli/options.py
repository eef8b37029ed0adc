"""Options that several verbs share, and how their values are written. A value that cannot be read is wrong usage."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_MODEL = "vidlatent-tiny"


def memory_budget(text: str) -> Any:
    """A budget as it was written, once it is known to be one: bytes, "2GiB", "500MB"."""
    from vidlatent.errors import InputError
    from vidlatent.streaming.planner import parse_bytes

    try:
        parse_bytes(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return text


def seconds(text: str) -> Fraction:
    """Seconds as "12.5", or "1:02:03.5"."""
    parts = text.split(":")
    if len(parts) > 3 or not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", part) for part in parts):
        raise typer.BadParameter(f"{text!r}: expected seconds such as 12.5, or minutes and hours as 1:02:03.5")
    total = Fraction(0)
    for part in parts:
        total = total * 60 + Fraction(part)
    return total


def frame_rate(text: str) -> Fraction:
    """Frames per second as "24", "29.97" (which means 30000/1001) or "30000/1001"."""
    from vidlatent.errors import InputError
    from vidlatent.io.rates import as_fps

    try:
        return as_fps(float(text) if "." in text else Fraction(text))
    except (InputError, ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r}: expected a frame rate such as 24, 29.97 or 30000/1001") from error


def frame_size(text: str) -> Any:
    """Rows x columns as "480x832", or the shorter side as "480"."""
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if not match:
        raise typer.BadParameter(f"{text!r}: expected HEIGHTxWIDTH such as 480x832, or the shorter side such as 480")
    return (int(match[1]), int(match[2])) if match[2] else int(match[1])


def video_shape(text: str) -> Any:
    """Frames x rows x columns as "81x480x832"."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise typer.BadParameter(f"{text!r}: expected FRAMESxHEIGHTxWIDTH such as 81x480x832")
    return int(match[1]), int(match[2]), int(match[3])


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]
KeepExisting = Annotated[
    bool, typer.Option("--no-clobber", "-n", help="Fail rather than replace what is there already, as cp -n.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="Name (see: vidlatent models), folder or checkpoint file.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.")]
Memory = Annotated[
    Any,
    typer.Option(
        "--memory",
        parser=memory_budget,
        metavar="BYTES",
        help="Budget such as 2GiB or 500MB. Never changes the answer. Without it, slabs of fixed size.",
    ),
]
Start = Annotated[Any, typer.Option("--start", parser=seconds, metavar="S", help="First second, as 12.5 or 1:02:03.")]
Stop = Annotated[Any, typer.Option("--stop", parser=seconds, metavar="S", help="Second before which to stop.")]
Size = Annotated[
    Any,
    typer.Option(
        "--size",
        parser=frame_size,
        metavar="HxW",
        help="Frames are scaled and centre-cropped to HEIGHTxWIDTH; one number is the shorter side, nothing cut.",
    ),
]
Rate = Annotated[
    Any, typer.Option("--fps", parser=frame_rate, metavar="FPS", help="Constant rate; default: the clip's own times.")
]


def check_output(path: Path, *, inputs: tuple[Path, ...], keep_existing: bool) -> None:
    """Refuse an output that is an input, that may not be replaced, or whose folder is missing, before hours of work."""
    from vidlatent.errors import InputError

    if keep_existing and path.exists():
        raise InputError(f"{path}: exists already, and --no-clobber keeps it: choose another name")
    if path.exists() and any(other.exists() and path.samefile(other) for other in inputs):
        raise InputError(f"{path}: is what is read: choose another name for the output")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: make it, or choose another one")
