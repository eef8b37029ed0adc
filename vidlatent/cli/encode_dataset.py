"""`vidlatent encode-dataset`: every video of a source to a latent dataset."""

# ruff: noqa: ARG001 - the options are taken from the context, all alike

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidlatent.cli.options import AsJson, Debug, Device, Memory, Rate, Size
from vidlatent.cli.terminal import counted, terminal
from vidlatent.errors import InputError

if TYPE_CHECKING:
    from vidlatent.encode import Stats

_LINE_SECONDS = 10.0
_OURS = ("config", "resume", "as_json", "debug")


def encode_dataset(  # each default is None: what is not given may stand in --config or in the dataset
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, globs, tables, tar shards, Hugging Face folders; or URLs.", metavar="SOURCE"),
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--output", help="The dataset: a folder or a URL.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Name, folder or checkpoint file.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML with these options; others win.")] = None,
    engine: Annotated[
        Literal["local", "accelerate", "ray"] | None,
        typer.Option("--engine", help="This machine; processes of accelerate launch, torchrun or srun; a Ray cluster."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Autoencoders at work; default: one a GPU.")] = None,
    decoders: Annotated[int | None, typer.Option("--decoders", help="Decode processes of each worker.")] = None,
    device: Device = None,  # type: ignore[assignment]
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option("--precision", help="What to compute in; auto: bfloat16 on GPUs."),
    ] = None,
    memory: Memory = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Most clips at once; default: by their size.")] = None,
    buffer: Annotated[str | None, typer.Option("--buffer", help="Decoded frames that wait; default 256MiB.")] = None,
    size: Size = None,
    frames: Annotated[int | None, typer.Option("--frames", help="Frames of a clip; default: whole videos.")] = None,
    stride: Annotated[int | None, typer.Option("--stride", help="Frames between starts; default: --frames.")] = None,
    fps: Rate = None,
    tail: Annotated[
        Literal["drop", "keep"] | None, typer.Option("--tail", help="What is left after the last whole clip.")
    ] = None,
    buckets: Annotated[
        str | None, typer.Option("--buckets", help="Shapes to choose from: 480x832x81@16,832x480x81@16,...")
    ] = None,
    kind: Annotated[
        Literal["mean", "moments", "sample"] | None, typer.Option("--kind", help="What of the posterior is stored.")
    ] = None,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32", "int8"] | None,
        typer.Option("--dtype", help="Type of the stored numbers; default bfloat16."),
    ] = None,
    path_column: Annotated[str | None, typer.Option("--path-column", help="Of a table: the files.")] = None,
    caption_column: Annotated[str | None, typer.Option("--caption-column", help="Of a table: the captions.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds without a frame after which a video hangs; default 60.")
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option("--max-failures", help="Stop when more videos fail; default: never.")
    ] = None,
    retry_failed: Annotated[
        bool | None, typer.Option("--retry-failed", help="Try again what failed before.", show_default=False)
    ] = None,
    shard: Annotated[str | None, typer.Option("--shard", help="Size of the tar files; default 1GiB.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is in DIR; without SOURCE and --model, as it was begun.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compress every video of a source into a latent dataset. Started again, it goes on where it was."""
    terminal.configure(as_json=as_json, debug=debug)
    from vidlatent.config import read_values
    from vidlatent.encode import encode_dataset as run
    from vidlatent.encode.config import saved_job, validated

    names = {"timeout": "timeout_seconds", "shard": "shard_bytes"}
    given = {names.get(n, n): v for n, v in context.params.items() if v not in (None, [], ()) and n not in _OURS}
    if "buckets" in given:
        given["buckets"] = [bucket for bucket in given["buckets"].split(",") if bucket]
    below: dict[str, Any] = {} if config is None else read_values(config)
    if resume and "source" not in {**below, **given} and out is not None:
        below = {**saved_job(out).arguments(), **below}
    values = {**below, **given}
    missing = [name for name in ("source", "out", "model") if name not in values]
    if missing:
        raise InputError(f"{', '.join(missing)}: give SOURCE, -o DIR and --model, or --config, or -o DIR --resume")
    settings = validated(values, "options" if config is None else str(config))
    with _progress() as tell:
        stats = run(**settings.arguments(), progress=tell)
    terminal.result(_record(settings.out, stats), _summary(settings.out, stats))


def _record(out: str, stats: Stats) -> dict[str, Any]:
    from dataclasses import asdict

    record = {"out": out, **asdict(stats), **rates(stats)}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in record.items()}


def rates(stats: Stats) -> dict[str, float]:
    """Clips and frames a second, hours of video an hour, and the share of the time in which the model had frames."""
    elapsed = max(stats.elapsed, 1e-9)
    return {
        "clips_per_second": stats.clips / elapsed,
        "frames_per_second": stats.frames / elapsed,
        "video_hours_per_hour": stats.seconds / elapsed,
        "model_busy": stats.busy,
    }


def _summary(out: str, stats: Stats) -> str:
    pace = rates(stats)
    if not stats.rows:
        return f"{out}: nothing to encode: {counted(stats.skipped, 'video')} already there"
    lines = [
        f"{out}: {counted(stats.clips, 'clip')}, {counted(stats.frames, 'frame')}, {stats.seconds / 3600:.2f} h of "
        f"video in {stats.elapsed:.0f} s: {pace['frames_per_second']:.1f} frames/s, "
        f"{pace['video_hours_per_hour']:.2f} h of video an hour, model busy {stats.busy:.0%} of the time"
    ]
    if stats.skipped or stats.known:
        lines.append(f"{counted(stats.skipped, 'video')} and {counted(stats.known, 'clip')} already there")
    if stats.failures:
        lines.append(
            f"{counted(stats.failures, 'video')} failed: {out}/failures.jsonl says why; --retry-failed tries again"
        )
    return "\n".join(lines)


def line(stats: Stats) -> str:
    """One line of progress."""
    pace, left = rates(stats), stats.left_seconds
    done = stats.rows + stats.skipped
    parts = [
        f"{done}/{stats.total or '?'} videos",
        f"{counted(stats.clips, 'clip')} ({pace['clips_per_second']:.2f}/s)",
        f"{pace['frames_per_second']:.1f} frames/s",
        f"{pace['video_hours_per_hour']:.2f} h/h",
        f"{stats.failures} failed",
        *([] if stats.fill is None else [f"queue {stats.fill:.0%}"]),
        f"model busy {stats.busy:.0%}",
    ]
    return ", ".join(parts) + ("" if left is None else f", {_clock(left)} left")


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@contextmanager
def _progress() -> Iterator[Callable[[Stats], None]]:
    """What to call with the counts: one line that changes on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield lambda stats: status.update(line(stats))
        return
    due = 0.0

    def tell(stats: Stats) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            typer.echo(f"encode-dataset: {line(stats)}", err=True)

    yield tell
