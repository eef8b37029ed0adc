"""`vidlatent verify`: every shard, checksum and count of a latent dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vidlatent.cli.options import AsJson, Debug
from vidlatent.cli.terminal import counted, terminal
from vidlatent.errors import InputError

if TYPE_CHECKING:
    from vidlatent.encode import Stats


def verify(
    directory: Annotated[str, typer.Argument(help="A latent dataset: a folder or a URL.", metavar="DIR")],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put damaged shards into quarantine/, keep their good clips, encode the others."),
    ] = False,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="Of the autoencoder that the latents should be of.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read a whole latent dataset and hold it against its checksums; exit 1 where anything is wrong."""
    terminal.configure(as_json=as_json, debug=debug)
    from vidlatent.cli.describe_dataset import verification_lines, verification_record
    from vidlatent.latents import dataset

    done, encoded = None, None
    if repair:
        with terminal.progress("repair") as progress:
            done = dataset.repair(directory, progress=progress)
        if not done.before.ok:
            encoded = _encode_again(directory)
    if done is not None and done.before.ok and fingerprint is None:
        found = done.before
    else:
        with terminal.progress("verify") as progress:
            found = dataset.verify(directory, fingerprint=fingerprint, progress=progress)
    record = verification_record(directory, found, done, encoded)
    terminal.result(record, *verification_lines(record))
    if not found.ok:
        advice = "" if repair else ": --repair puts the damaged shards aside and keeps what is good"
        typer.echo(f"error: {directory}: {counted(len(found.problems), 'problem')}{advice}", err=True)
        raise typer.Exit(1)


def _encode_again(directory: str) -> Stats | None:
    """What is missing now, from where it came; None where the dataset does not know."""
    from vidlatent.encode import resume_dataset

    try:
        return resume_dataset(directory, engine="local")
    except InputError as error:
        typer.echo(f"what is lost was not encoded again: {error}", err=True)
        return None
