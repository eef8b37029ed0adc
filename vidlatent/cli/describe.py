"""Clips, latent files and models as records for --json and as small tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from vidlatent.autoencoders import Autoencoder
    from vidlatent.io import VideoSpec
    from vidlatent.latents import LatentClip

_RAW_BITS_PER_PIXEL = 24


def latent_record(clip: LatentClip) -> dict[str, Any]:
    """What a latent file holds and how well it compresses."""
    meta, (t, channels, h, w) = clip.meta, clip.shape
    height, width = meta.size
    bits_per_pixel = clip.num_bytes * 8 / (meta.num_frames * height * width)
    start, last = clip.times(0, 1)[0], clip.times(meta.num_frames - 1)[0]
    return {
        "kind": "latents",
        "path": clip.path,
        "file_bytes": clip.path.stat().st_size,
        "shape": [t, channels, h, w],
        "holds": meta.kind,
        "dtype": meta.dtype,
        "frames": meta.num_frames,
        "height": height,
        "width": width,
        "fps": meta.fps,
        "first_pts_seconds": float(start),
        "last_pts_seconds": float(last),
        "model": meta.model,
        "fingerprint": meta.fingerprint,
        "latent_spec": dict(meta.latent_spec),
        "source": asdict(meta.source),
        "latent_bytes": clip.num_bytes,
        "bits_per_pixel": round(bits_per_pixel, 5),
        "compression": round(_RAW_BITS_PER_PIXEL / bits_per_pixel, 2),
        "value_compression": round(3 * meta.num_frames * height * width / prod(clip.shape), 2),
        "sha256": meta.sha256,
        "version": meta.version,
    }


def latent_table(record: Mapping[str, Any]) -> Table:
    """A latent file for people."""
    t, channels, h, w = record["shape"]
    first, last = record["first_pts_seconds"], record["last_pts_seconds"]
    return two_columns(
        {
            "latents": record["path"],
            "grid": f"{t} x {channels} x {h} x {w} {record['dtype']} ({record['holds']})",
            "video": f"{record['frames']} frames of {record['width']}x{record['height']}, {_rate(record['fps'])}, "
            f"{first:.2f} to {last:.2f} s",
            "model": f"{record['model']}, fingerprint {record['fingerprint']}",
            "size": f"{human_bytes(record['latent_bytes'])}, {record['bits_per_pixel']:.3f} bits per pixel, "
            f"{record['compression']:.1f}x smaller than raw 8-bit RGB",
            "source": record["source"]["uri"] or "unknown",
        }
    )


def clip_record(spec: VideoSpec, num_bytes: int) -> dict[str, Any]:
    """What a video file says of itself."""
    return {"kind": "clip", "file_bytes": num_bytes, **asdict(spec)}


def clip_table(spec: VideoSpec, num_bytes: int) -> Table:
    """A video file for people."""
    length = "unknown" if spec.duration_seconds is None else f"{float(spec.duration_seconds):.2f} s"
    frames = "" if spec.num_frames is None else f", {spec.num_frames} frames"
    turned = f", turned {spec.rotation} degrees" if spec.rotation else ""
    return two_columns(
        {
            "clip": spec.path,
            "video": f"{spec.width}x{spec.height}{turned}, {_rate(spec.fps)}",
            "length": f"{length}{frames} (as the file claims)",
            "codec": f"{spec.codec} {spec.pix_fmt} in {spec.container}",
            "colour": f"{spec.matrix}{' (assumed)' if spec.matrix_is_assumed else ''}, {spec.range}, {spec.transfer}",
            "sound": "yes" if spec.has_audio else "no",
            "size": human_bytes(num_bytes),
        }
    )


def model_record(ae: Autoencoder, name: str) -> dict[str, Any]:
    """An autoencoder's grid, compression and size; the weights need not be there."""
    spec = ae.latent_spec
    return {
        "kind": "model",
        "name": name,
        "family": ae.family,
        "stride": list(spec.stride),
        "channels": spec.channels,
        "first_frame": spec.first_frame,
        "value_compression": round(3 * prod(spec.stride) / spec.channels, 2),
        "parameters": sum(parameter.numel() for parameter in ae.parameters()),
        "log_variance": ae.has_logvar,
    }


def model_table(record: Mapping[str, Any]) -> Table:
    """An autoencoder for people."""
    stride = "x".join(map(str, record["stride"]))
    return two_columns(
        {
            "model": f"{record['name']} (family {record['family']})",
            "latent grid": f"{stride} pixels (T, H, W) to {record['channels']} channels, "
            f"{record['value_compression']:g}x fewer values",
            "first frame": "has a latent of its own" if record["first_frame"] == "single" else "grouped with the next",
            "parameters": f"{record['parameters'] / 1e6:.2f} M",
            "fingerprint": record.get("fingerprint") or "no weights here",
        }
    )


def two_columns(rows: Mapping[str, object]) -> Table:
    """Names and values, aligned, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, plain(str(value)))
    return table


def plain(text: str) -> Any:
    """Text in which square brackets are just that."""
    from rich.text import Text

    return Text(text)


def human_bytes(count: int) -> str:
    """1536 as "1.5 KiB"."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _rate(fps: Any) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".") + " fps"
