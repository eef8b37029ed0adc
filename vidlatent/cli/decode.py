"""`vidlatent decode`: a latent file to a clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidlatent.cli.options import AsJson, Debug, Device, KeepExisting, Memory, check_output
from vidlatent.cli.terminal import terminal
from vidlatent.errors import InputError

if TYPE_CHECKING:
    from vidlatent.latents import LatentMeta


def decode(
    latents: Annotated[Path, typer.Argument(help="What vidlatent encode wrote.", metavar="LATENTS")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The video: .mp4, .mov, .mkv, .webm or .gif.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name or path; without it, the model that the file names.")
    ] = None,
    memory: Memory = None,
    audio: Annotated[bool, typer.Option("--audio", help="Copy the sound from the clip that was encoded.")] = False,
    audio_from: Annotated[Path | None, typer.Option("--audio-from", help="Copy the sound from this file.")] = None,
    codec: Annotated[
        Literal["h264", "h265", "vp9", "av1", "gif"] | None,
        typer.Option("--codec", help="Without it, the usual one for the extension."),
    ] = None,
    crf: Annotated[int | None, typer.Option("--crf", help="Quality, lower is better; default near lossless.")] = None,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Decode even if another autoencoder made these latents.")
    ] = False,
    device: Device = "auto",
    keep_existing: KeepExisting = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Decode a latent file to a video of the clip's own length, size and frame times."""
    terminal.configure(as_json=as_json, debug=debug)
    check_output(output, inputs=(latents,), keep_existing=keep_existing)
    from vidlatent.cli.loading import load_autoencoder
    from vidlatent.encode import decode_clip
    from vidlatent.latents import LatentClip

    with LatentClip(latents) as opened:
        meta = opened.meta
    if audio and audio_from is None:
        audio_from = _encoded_clip(meta)
    ae = load_autoencoder(model or meta.model, device)
    with terminal.progress("decode") as progress:
        num_frames = decode_clip(
            latents,
            ae,
            output,
            memory=memory,
            audio_from=audio_from,
            codec=codec,
            crf=crf,
            allow_other_model=any_model,
            progress=progress,
        )
    height, width = meta.size
    record = {"path": output, "frames": num_frames, "height": height, "width": width, "fps": meta.fps}
    terminal.result(record, f"{output}: {num_frames} frames of {width}x{height} at {float(meta.fps):.3f} fps")


def _encoded_clip(meta: LatentMeta) -> Path:
    """The clip a latent file was made from, as long as it is still the same file."""
    from vidlatent.latents import content_hash

    clip = Path(meta.source.uri)
    if not clip.is_file():
        raise InputError(f"--audio: the encoded clip {clip} is not there any more: name a file with --audio-from")
    if content_hash(clip) != meta.source.sha256:
        raise InputError(f"--audio: {clip} has changed since it was encoded: name a file with --audio-from")
    return clip
