"""`vidlatent encode`: a clip to a latent file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlatent.cli.options import (
    DEFAULT_MODEL,
    AsJson,
    Debug,
    Device,
    KeepExisting,
    Memory,
    Model,
    Rate,
    Size,
    Start,
    Stop,
    check_output,
)
from vidlatent.cli.terminal import terminal


def encode(
    clip: Annotated[Path, typer.Argument(help="The video.", metavar="CLIP")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The latent file, safetensors by format.")],
    model: Model = DEFAULT_MODEL,
    memory: Memory = None,
    start: Start = None,
    stop: Stop = None,
    size: Size = None,
    fps: Rate = None,
    dtype: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option("--dtype", help="Type of the stored numbers.")
    ] = "float16",
    keep_logvar: Annotated[
        bool, typer.Option("--logvar", help="Store the log-variance too, twice the bytes, where the model has one.")
    ] = False,
    device: Device = "auto",
    keep_existing: KeepExisting = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compress a clip, or a part of it, into a latent file."""
    terminal.configure(as_json=as_json, debug=debug)
    check_output(output, inputs=(clip,), keep_existing=keep_existing)
    from vidlatent.cli.describe import latent_record, latent_table
    from vidlatent.cli.loading import load_autoencoder, stored_name
    from vidlatent.encode import encode_clip
    from vidlatent.io import open_video
    from vidlatent.latents import LatentClip

    open_video(clip).close()  # a wrong file is told before a model is loaded
    ae = load_autoencoder(model, device)
    with terminal.progress("encode") as progress:
        encode_clip(
            clip,
            ae,
            output,
            memory=memory,
            start=start,
            stop=stop,
            size=size,
            fps=fps,
            dtype=dtype,
            keep_logvar=keep_logvar,
            model_name=stored_name(model),
            progress=progress,
        )
    with LatentClip(output) as latents:
        record = latent_record(latents)
    terminal.result(record, latent_table(record))
