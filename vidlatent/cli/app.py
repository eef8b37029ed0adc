"""Gather the verbs, and turn whatever they raise into one line and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vidlatent import __version__
from vidlatent.cli.decode import decode
from vidlatent.cli.encode import encode
from vidlatent.cli.encode_dataset import encode_dataset
from vidlatent.cli.evaluate import evaluate
from vidlatent.cli.generate import generate
from vidlatent.cli.info import info
from vidlatent.cli.models import models
from vidlatent.cli.plan import plan
from vidlatent.cli.reconstruct import reconstruct
from vidlatent.cli.terminal import terminal
from vidlatent.cli.train import train
from vidlatent.cli.verify import verify
from vidlatent.errors import VidlatentError

_FAILED, _INTERRUPTED, _TERMINATED = 1, 130, 143
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class _Verbs(TyperGroup):
    """Runs a verb; a failure becomes a line on stderr, and with --json an object on stdout too."""

    def invoke(self, ctx: Any) -> Any:
        terminal.configure()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            terminal.fail("interrupted: nothing unfinished was left behind")
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            raise  # whoever read the output has left, which is their right
        except (VidlatentError, OSError, MemoryError, RuntimeError, ValueError, TypeError, LookupError) as error:
            if terminal.debug or isinstance(error, typer.Exit | typer.Abort):
                raise
            terminal.fail(_reason(error))
            raise typer.Exit(_FAILED) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, VidlatentError):
        return text
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _OUT_OF_MEMORY):
        return "out of memory: give a budget, such as --memory 2GiB"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"unexpected {type(error).__name__}: {text}. Please report it with what --debug prints"


app = typer.Typer(
    cls=_Verbs,
    name="vidlatent",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compress video into latents and back, in bounded memory, exactly.",
    epilog="Try:  vidlatent reconstruct clip.mp4",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidlatent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


app.command(epilog="Example:  vidlatent reconstruct clip.mp4 -o out --memory 2GiB")(reconstruct)
app.command(epilog="Example:  vidlatent encode clip.mp4 -o clip.safetensors --start 10 --stop 20")(encode)
app.command("encode-dataset", epilog="Example:  vidlatent encode-dataset clips -o latents --frames 81 --size 480x832")(
    encode_dataset
)
app.command(epilog="Example:  vidlatent decode clip.safetensors -o clip.mp4 --audio")(decode)
app.command(epilog="Example:  vidlatent info clip.safetensors --json")(info)
app.command(epilog="Example:  vidlatent models")(models)
app.command(epilog="Example:  vidlatent verify latents --repair")(verify)
app.command(epilog="Example:  vidlatent plan wan-2.1 --video 81x480x832 --memory 6GiB --direction decode")(plan)
app.command(epilog="Example:  vidlatent evaluate clips -m vidlatent-tiny --baselines pca,h264 -o runs/eval")(evaluate)
app.command(
    epilog="Example:  vidlatent train configs/autoencoder/kl-f4x8x8.yaml data.folder=clips out=runs/kl --smoke"
)(train)
app.command(epilog="Example:  vidlatent generate bounce -o clip.mp4 --seconds 60")(generate)


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal handlers take
    # An exception, so that open files are removed on the way out.
    sys.exit(_TERMINATED)


def run() -> None:
    """Run with the process's arguments."""
    signal.signal(signal.SIGTERM, _terminate)
    app()
