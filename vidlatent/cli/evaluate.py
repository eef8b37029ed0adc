"""`vidlatent evaluate`: models and baselines side by side on clips, as a table and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidlatent.cli.options import AsJson, Debug, Memory, Rate, frame_size
from vidlatent.cli.terminal import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from vidlatent.evaluate import Evaluation

REPORT = "report.html"
NATIVE = "native"


def _size(text: str) -> Any:
    """Rows x columns, one number for a square, or "native"."""
    if text == NATIVE:
        return text
    size = frame_size(text)
    return (size, size) if isinstance(size, int) else size


def evaluate(
    source: Annotated[Path, typer.Argument(help="A video, a folder, or a text file listing videos.", metavar="SOURCE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results; one with results is resumed.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Name, folder or checkpoint file; as often as you like.")
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="Of pca,h264,h265,av1,bicubic; matched to the first model, or h264@0.5 (bits per pixel), h264@int8."
        ),
    ] = "",
    frames: Annotated[int, typer.Option(min=1, help="First frames of each clip.")] = 33,
    size: Annotated[
        Any,
        typer.Option(
            parser=_size, metavar="HxW", help="Frames are scaled and centre-cropped to this; native: each clip's own."
        ),
    ] = "256x256",
    fps: Rate = None,
    memory: Memory = None,
    workers: Annotated[int, typer.Option(min=1, help="Clips measured at once, each in a process of its own.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda:0, or several as cuda:0,cuda:1; auto takes a GPU.")] = "auto",
    lpips: Annotated[
        str | None,
        typer.Option(metavar="FILES", help="Local LPIPS weights: a folder, or trunk and heads as a.pth,b.pth."),
    ] = None,
    lpips_net: Annotated[str, typer.Option(help="vgg or alex.")] = "vgg",
    features: Annotated[
        str | None,
        typer.Option(metavar="NAME[=PATH]", help="rFVD by i3d=FILE, videomae=FOLDER, or random (needs no file)."),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also ask whether the latents are good to diffuse in.")
    ] = False,
    previews: Annotated[bool, typer.Option(help="Videos and worst frames in the report.")] = True,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Evaluate autoencoders side by side: a table under one recorded protocol, and a page to look at."""
    terminal.configure(as_json=as_json, debug=debug)
    from vidlatent.errors import InputError
    from vidlatent.evaluate import Settings
    from vidlatent.evaluate import evaluate as run
    from vidlatent.report import write_evaluation_page

    kind, _, weights = (features or "").partition("=")
    settings = Settings(
        memory=memory,
        workers=workers,
        devices=_devices(device),
        lpips_net=lpips_net,
        lpips_weights=tuple(lpips.split(",")) if lpips else None,
        features_weights=weights or None,
        previews=previews,
    )
    with terminal.progress("evaluate") as progress:
        done = run(
            source,
            model or [],
            output,
            baselines=[name.strip() for name in baselines.split(",") if name.strip()],
            frames=frames,
            size=None if size == NATIVE else size,
            fps=None if fps is None else str(fps),
            features=kind or None,
            probe=probe,
            settings=settings,
            progress=lambda rows, total: progress(rows * frames, total * frames),
        )
    page = write_evaluation_page(output / REPORT, done.summary, done.rows, media=output / "media")
    failed = [row for row in done.rows if row["status"] != "ok"]
    record = {"folder": str(output), "report": str(page), **done.summary, "failed": failed, "resumed": done.resumed}
    terminal.result(record, _table(done), *_notes(done, failed, page))
    if len(failed) == len(done.rows):
        raise InputError(f"no clip could be evaluated: {failed[0]['clip']}: {failed[0]['reason']}")


def _devices(text: str) -> tuple[str, ...]:
    import torch

    from vidlatent.errors import InputError

    if text == "auto":
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or ("cpu",)
    for name in text.split(","):
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return tuple(text.split(","))


def _table(done: Evaluation) -> Table:
    from rich.table import Table

    from vidlatent.report import columns_of

    columns, records = columns_of(done.summary), done.summary["candidates"]
    table = Table(box=None, pad_edge=False)
    table.add_column("candidate")
    for column in columns:
        table.add_column(f"{column.title}{f' ({column.unit})' if column.unit else ''}", justify="right")
    for record in records:
        table.add_row(record["candidate"], *(column.shown(record.get(column.key)) for column in columns))
    return table


def _notes(done: Evaluation, failed: list[dict[str, Any]], page: Path) -> list[str]:
    summary = done.summary
    clips, everything = len(summary["clips_averaged"]), len(summary["protocol"]["clips"])
    lines = [f"means over {clips} of {everything} clips; protocol {summary['protocol_hash']}; report: {page}"]
    return [f"failed: {row['candidate']} on {row['clip']}: {row['reason']}" for row in failed] + lines
