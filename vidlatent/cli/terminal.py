"""What the verbs say: results on stdout, as text or one JSON object; progress and failures on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

_LINE_SECONDS = 10.0
_PIPED_COLUMNS = 1000


def counted(number: int, thing: str) -> str:
    """ "1 shard", "2 shards"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


class Terminal:
    """How this run talks, set by the options of its verb."""

    def __init__(self) -> None:
        self.json = self.debug = False

    def configure(self, *, as_json: bool = False, debug: bool = False) -> None:
        """Take over the options that all verbs share."""
        self.json, self.debug = as_json, debug

    def result(self, record: Mapping[str, Any], *shown: RenderableType) -> None:
        """Print the outcome: `record` as a JSON object, or what a person reads."""
        if self.json:
            typer.echo(json.dumps(record, default=str))
            return
        from rich.console import Console

        # Piped, lines are as long as they are; 80 columns are for terminals.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS)
        for item in shown:
            console.print(item, markup=False) if isinstance(item, str) else console.print(item)

    def fail(self, reason: str) -> None:
        """Print why nothing came of it."""
        typer.echo(f"error: {reason}", err=True)
        if self.json:
            typer.echo(json.dumps({"error": reason}))

    @contextmanager
    def progress(self, verb: str) -> Iterator[Callable[[int, int | None], None]]:
        """Yield what to call with the frames done and the frames in all: a bar on a terminal, lines elsewhere."""
        if sys.stderr.isatty():
            with _bar(verb) as show:
                yield show
        else:
            lines = _Lines(verb)
            yield lines
            lines.finish()


class _Lines:
    """A line now and then: first and last news always, in between one every ten seconds."""

    def __init__(self, verb: str) -> None:
        self._verb, self._started, self._next = verb, time.monotonic(), 0.0
        self._told = self._done = 0

    def __call__(self, done: int, total: int | None) -> None:
        self._done = done
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            self._tell(done, total)

    def finish(self) -> None:
        """Tell how it ended; only now is the number of frames certain."""
        if self._done != self._told:
            self._tell(self._done, self._done)

    def _tell(self, done: int, total: int | None) -> None:
        self._told = done
        rate = done / max(time.monotonic() - self._started, 1e-9)
        left = f", {max(total - done, 0) / rate:.0f} s left" if total and rate and done < total else ""
        typer.echo(f"{self._verb}: {done}/{total or '?'} frames, {rate:.1f} fps{left}", err=True)


@contextmanager
def _bar(verb: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} fps")

    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


terminal = Terminal()
