"""`vidlatent reconstruct`: a clip through an autoencoder and back, measured and shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from vidlatent.files import write_text

if TYPE_CHECKING:
    from vidlatent.cli.comparison import Comparison
    from vidlatent.latents import LatentMeta

FILES = {
    "latents": "latents.safetensors",
    "reconstruction": "reconstruction.mp4",
    "side_by_side": "side_by_side.mp4",
    "report": "report.html",
    "figures": "report.json",
}


def reconstruct(
    clip: Annotated[Path, typer.Argument(help="The video.", metavar="CLIP")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the results; made if need be. [CLIP-MODEL]")
    ] = None,
    model: Model = DEFAULT_MODEL,
    memory: Memory = None,
    start: Start = None,
    stop: Stop = None,
    size: Size = None,
    fps: Rate = None,
    device: Device = "auto",
    keep_existing: KeepExisting = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Encode a clip and decode it again: PSNR, SSIM, a side-by-side video and a report."""
    terminal.configure(as_json=as_json, debug=debug)
    folder = output or Path(f"{clip.stem}-{Path(model).stem}")
    from vidlatent.cli.comparison import Comparison
    from vidlatent.cli.loading import load_autoencoder, stored_name
    from vidlatent.encode import reconstruct_clip
    from vidlatent.io import open_video

    with open_video(clip, size=size) as source:  # a wrong file is told before a model is loaded
        frame_size, rate = (source.height, source.width), fps or source.spec.fps
    ae = load_autoencoder(model, device)
    with _folder(folder):
        paths = {kind: folder / name for kind, name in FILES.items()}
        for path in paths.values():
            check_output(path, inputs=(clip,), keep_existing=keep_existing)
        started = time.monotonic()
        with (
            Comparison(paths, size=frame_size, fps=rate, model=Path(model).stem) as comparison,
            terminal.progress("reconstruct") as progress,
        ):
            meta = reconstruct_clip(
                clip,
                ae,
                paths["latents"],
                comparison.add,
                memory=memory,
                start=start,
                stop=stop,
                size=size,
                fps=fps,
                model_name=stored_name(model),
                progress=progress,
            )
        record = _record(clip, meta, comparison, paths, time.monotonic() - started)
        rows = _rows(record)
        write_text(paths["figures"], json.dumps(record, indent=2, default=str) + "\n")
        write_text(paths["report"], comparison.page(f"{clip.name} through {Path(model).stem}", rows))
    from vidlatent.cli.describe import two_columns

    shown = rows | {"side by side": str(paths["side_by_side"]), "report": str(paths["report"])}
    terminal.result(record, two_columns(shown))


def _record(
    clip: Path, meta: LatentMeta, comparison: Comparison, paths: dict[str, Path], elapsed_seconds: float
) -> dict[str, Any]:
    from vidlatent.cli.describe import latent_record
    from vidlatent.latents import LatentClip

    with LatentClip(paths["latents"]) as latents:
        stored = latent_record(latents)
    figures = ("frames", "height", "width", "fps", "model", "fingerprint", "shape", "dtype", "latent_bytes")
    compression = ("bits_per_pixel", "compression", "value_compression")
    return {
        "clip": clip,
        "clip_bytes": clip.stat().st_size,
        **{key: stored[key] for key in figures},
        **comparison.figures(),
        **{key: stored[key] for key in compression},
        "seconds": round(elapsed_seconds, 3),
        "frames_per_second": round(meta.num_frames / elapsed_seconds, 3),
        "files": {kind: str(path) for kind, path in paths.items()},
    }


def _rows(record: dict[str, Any]) -> dict[str, str]:
    from vidlatent.cli.describe import human_bytes

    ssim = "frames are too small for it" if record["ssim"] is None else f"{record['ssim']:.4f}"
    return {
        "clip": f"{record['clip']}, {record['frames']} frames of {record['width']}x{record['height']}",
        "model": f"{record['model']}, fingerprint {record['fingerprint']}",
        "PSNR": f"{record['psnr']:.2f} dB (mean over frames {record['psnr_mean_over_frames']:.2f} dB)",
        "SSIM": ssim,
        "latents": f"{human_bytes(record['latent_bytes'])}, {record['bits_per_pixel']:.3f} bits per pixel, "
        f"{record['compression']:.1f}x smaller than raw 8-bit RGB, {record['value_compression']:.1f}x fewer values",
        "speed": f"{record['frames_per_second']:.1f} frames per second there and back",
    }


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder of the results, and take it away again if nothing came of it."""
    from vidlatent.errors import InputError

    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file: --output names the folder for the results")
    existed = path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not existed and not any(path.iterdir()):
            path.rmdir()
