"""`vidlatent generate`: a diffusion model to a clip, as long as you like."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vidlatent.cli.options import AsJson, Debug, Device, KeepExisting, Memory, check_output, seconds
from vidlatent.cli.terminal import terminal

_DEFAULT_MODEL, _DEFAULT_SECONDS = "bounce", 8


def generate(
    output: Annotated[Path, typer.Option("-o", "--output", help="The video: .mp4, .mov, .mkv, .webm or .gif.")],
    model: Annotated[
        str, typer.Argument(help="A packaged model, or a file that vidlatent train wrote.", metavar="MODEL")
    ] = _DEFAULT_MODEL,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames to generate.")] = None,
    length: Annotated[
        Any,
        typer.Option("--seconds", parser=seconds, metavar="S", help=f"Or seconds of them; default {_DEFAULT_SECONDS}."),
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option("--from", metavar="CLIP", help="Go on from the end of this clip or picture.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Passes for each frame; default 16.")] = None,
    schedule: Annotated[
        Literal["autoregressive", "pyramid", "fifo", "full"],
        typer.Option("--schedule", help="Frame after frame, or with frames in flight together."),
    ] = "autoregressive",
    context_noise: Annotated[
        float | None,
        typer.Option("--context-noise", min=0, max=1, help="How noisy finished frames are shown; default: as trained."),
    ] = None,
    sinks: Annotated[
        int | None, typer.Option("--sinks", min=0, help="First frames that stay in sight; default: as trained.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, another clip.")] = 0,
    autoencoder: Annotated[
        str | None, typer.Option("--autoencoder", help="Name or path; without it, the one that the model names.")
    ] = None,
    memory: Memory = None,
    device: Device = "auto",
    keep_existing: KeepExisting = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Generate a clip of any length in constant memory: each latent is decoded and written as it appears."""
    terminal.configure(as_json=as_json, debug=debug)
    if frames is not None and length is not None:
        raise typer.BadParameter("give --frames or --seconds, not both")
    check_output(output, inputs=() if prompt is None else (prompt,), keep_existing=keep_existing)
    from vidlatent.cli.loading import load_autoencoder
    from vidlatent.diffusion.checkpoint import load_model
    from vidlatent.diffusion.packaged import find_model
    from vidlatent.diffusion.provenance import Provenance
    from vidlatent.encode.generate import Sampling, generate_clip

    path = find_model(model)
    dit = load_model(path)
    made = Provenance.of(dit, path=path)
    ae = load_autoencoder(autoencoder or made.autoencoder, device)
    dit = dit.to(next(ae.parameters()).device)
    num_frames = frames or max(1, ceil((_DEFAULT_SECONDS if length is None else length) * round(made.fps, 3)))
    with terminal.progress("generate") as progress:
        generate_clip(
            dit,
            ae,
            output,
            num_frames=num_frames,
            sampling=Sampling(schedule, steps, seed, context_noise, sinks),
            prompt=prompt,
            memory=memory,
            progress=progress,
        )
    height, width = made.size
    record = {"path": output, "model": model, "frames": num_frames, "height": height, "width": width}
    record |= {"fps": made.fps, "seconds": num_frames / made.fps, "seed": seed}
    terminal.result(record, f"{output}: {num_frames} frames of {width}x{height} at {made.fps:g} fps")
