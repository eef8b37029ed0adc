"""`vidlatent train`: an autoencoder or a diffusion model, from a configuration file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from vidlatent.cli.options import AsJson, Debug
from vidlatent.cli.terminal import terminal


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, and how.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Changes to it, as stages.0.steps=100.")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Its small form: a minute on two CPU cores.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a model, or go on with a run that was stopped: the same command resumes it, with the same result."""
    terminal.configure(as_json=as_json, debug=debug)
    from vidlatent.train import run
    from vidlatent.train.progress import Progress

    live = sys.stderr.isatty()

    def show(progress: Progress) -> None:
        line = str(progress)
        if live:  # a line that wraps could not be written over
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        typer.echo(line, err=True, nl=not live)

    outcome = run(config, overrides or [], smoke=smoke, show=show)
    if live:
        typer.echo("", err=True)
    shown = [
        f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}" for name, value in outcome.items()
    ]
    terminal.result(outcome, *shown)
