"""A latent dataset, and what verifying it found, as records for --json and as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from vidlatent.cli.describe import human_bytes, two_columns
from vidlatent.cli.terminal import counted
from vidlatent.errors import LatentFileError
from vidlatent.latents.values import TYPES

if TYPE_CHECKING:
    from vidlatent.encode import Stats
    from vidlatent.latents import LatentDataset
    from vidlatent.latents.dataset import Repair, Verification

_RAW_BYTES_PER_PIXEL = 3
_SHAPES_SHOWN, _PROBLEMS_SHOWN = 5, 20


def dataset_record(dataset: LatentDataset) -> dict[str, Any]:
    """What a dataset holds, how well it compresses, and where it comes from."""
    sources, failures = origin(str(dataset.folder))
    columns, settings, stats = dataset.columns, dataset.settings, dataset.stats
    grids = np.array(columns.shapes, np.int64).reshape(-1, 5)[columns.shape]
    itemsize = 1 if settings.dtype == "int8" else TYPES[settings.dtype].itemsize
    latent_bytes = int((columns.latent_frames * grids[:, :3].prod(1)).sum()) * itemsize
    raw_bytes = int((columns.num_frames * grids[:, 3:].prod(1)).sum()) * _RAW_BYTES_PER_PIXEL
    seconds = columns.seconds
    return {
        "kind": "dataset",
        "path": str(dataset.folder),
        "clips": len(dataset),
        "shards": len(columns.tars),
        "unfinished_shards": sum(not name.endswith(".tar") for name in columns.tars),
        "hours": float(seconds.sum()) / 3600,
        "seconds_per_clip": {"least": float(seconds.min()), "most": float(seconds.max())} if len(dataset) else None,
        "frames": int(columns.num_frames.sum()),
        "latent_frames": int(columns.latent_frames.sum()),
        "shapes": _shapes(dataset),
        "latent_bytes": latent_bytes,
        "bytes": sum(dataset.folder.size(name) or 0 for name in columns.tars),
        "raw_bytes": raw_bytes,
        "compression": round(raw_bytes / latent_bytes, 2) if latent_bytes else None,
        "holds": settings.kind,
        "dtype": settings.dtype,
        "model": settings.model,
        "fingerprint": settings.fingerprint,
        "latent_spec": dict(settings.latent_spec),
        "recipe": dict(settings.recipe),
        "version": settings.version,
        "sources": sources,
        "failures": failures,
        "stats": {"count": stats.count, "mean": stats.mean.tolist(), "std": stats.std.tolist()},
    }


def origin(directory: str) -> tuple[list[str] | None, int]:
    """What `encode-dataset` made a dataset of, None where something else did; and how many videos failed."""
    from vidlatent.encode.config import saved_job
    from vidlatent.encode.pipeline.journal import FAILURES
    from vidlatent.latents.dataset.folder import open_folder

    try:
        sources = list(saved_job(directory).source)
    except LatentFileError:
        return None, 0
    folder = open_folder(directory)
    return sources, len(folder.read([FAILURES])[0].splitlines()) if folder.size(FAILURES) else 0


def _shapes(dataset: LatentDataset) -> list[dict[str, Any]]:
    """The latent shapes there are, the most frequent first."""
    numbers, counts = np.unique(dataset.columns.shape, return_counts=True)
    found = []
    for number in numbers[np.argsort(-counts, kind="stable")].tolist():
        channels, h, w, height, width = dataset.columns.shapes[number]
        clips = int(counts[numbers == number][0])
        found.append({"latent": [channels, h, w], "height": height, "width": width, "clips": clips})
    return found


def dataset_table(record: Mapping[str, Any]) -> Table:
    """A dataset for people."""
    shapes = [
        f"{shape['width']}x{shape['height']} ({'x'.join(map(str, shape['latent']))}): {shape['clips']:,}"
        for shape in record["shapes"][:_SHAPES_SHOWN]
    ]
    more = len(record["shapes"]) - _SHAPES_SHOWN
    length = record["seconds_per_clip"]
    open_ones = record["unfinished_shards"]
    return two_columns(
        {
            "dataset": record["path"],
            "clips": f"{record['clips']:,}, {record['hours']:.3f} hours, {record['frames']:,} frames"
            + (f", each {length['least']:.2f} to {length['most']:.2f} s" if length else ""),
            "sizes": ", ".join(shapes) + (f" and {more} more" if more > 0 else ""),
            "latents": f"{record['latent_frames']:,} latent frames, {record['holds']} in {record['dtype']}",
            "bytes": f"{human_bytes(record['bytes'])} in {counted(record['shards'], 'shard')}"
            + (f", {open_ones} of them unfinished" if open_ones else "")
            + (f", {record['compression']:g}x smaller than raw 8-bit RGB" if record["compression"] else ""),
            "model": f"{record['model']}, fingerprint {record['fingerprint']}",
            "recipe": _recipe(record["recipe"]) or "not told",
            "source": ", ".join(record["sources"] or ["not told"])
            + (f"; {counted(record['failures'], 'video')} failed: failures.jsonl" if record["failures"] else ""),
            "mean": _numbers(record["stats"]["mean"]),
            "std": _numbers(record["stats"]["std"]),
        }
    )


def _recipe(recipe: Mapping[str, Any]) -> str:
    """How clips were made: in words where `encode-dataset` says it, else as it stands."""
    parts = []
    for name, value in recipe.items():
        try:
            parts.append(_policy(value) if name == "clips" else f"{name} {value}")
        except (KeyError, TypeError):
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def _policy(clips: Mapping[str, Any]) -> str:
    shapes = [", ".join(part for part in _shape_parts(shape) if part) for shape in clips["shapes"]]
    stride = f", one every {clips['stride']}" if clips["stride"] else ""
    tail = f", tail {clips['tail']}" if any(shape["frames"] for shape in clips["shapes"]) else ""
    return "; ".join(shapes) + stride + tail


def _shape_parts(shape: Mapping[str, Any]) -> Iterator[str]:
    size, frames, fps = shape["size"], shape["frames"], shape["fps"]
    if size is None:
        yield "own size"
    else:
        yield f"shorter side {size}" if isinstance(size, int) else f"{size[1]}x{size[0]}"
    yield "whole videos" if frames is None else counted(frames, "frame")
    yield f"{fps} fps" if fps else ""


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def verification_record(
    directory: str, found: Verification, repaired: Repair | None, encoded: Stats | None
) -> dict[str, Any]:
    """What was read, what is wrong, and what became of it."""
    record: dict[str, Any] = {
        "kind": "verification",
        "path": directory,
        "ok": found.ok,
        "clips": found.num_clips,
        "shards": found.num_shards,
        "bytes": found.num_bytes,
        "unfinished_shards": found.unfinished,
        "problems": [asdict(problem) for problem in found.problems],
    }
    if repaired is not None:
        record["repair"] = {
            "problems": [asdict(problem) for problem in repaired.before.problems],
            "finished": repaired.finished,
            "quarantined": repaired.quarantined,
            "saved_clips": repaired.saved,
            "lost_keys": repaired.lost,
            "encoded_clips": None if encoded is None else encoded.clips,
        }
    return record


def verification_lines(record: Mapping[str, Any]) -> list[str]:
    """The same for people: one line a problem, then the sum."""
    problems = record["problems"] or record.get("repair", record)["problems"]
    lines = [
        f"{problem['kind']}: {problem['shard']}{problem['key'] and ', clip '}{problem['key']}: {problem['reason']}"
        for problem in problems[:_PROBLEMS_SHOWN]
    ]
    if len(problems) > _PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - _PROBLEMS_SHOWN} more: --json has all")
    read, unfinished = human_bytes(record["bytes"]), len(record["unfinished_shards"])
    whole = f"{counted(record['clips'], 'clip')} whole in {counted(record['shards'], 'shard')}, {read} read"
    rest = f"; {counted(unfinished, 'shard')} unfinished: being written, or --repair" if unfinished else ""
    lines.append(whole + rest)
    if "repair" in record:
        done = record["repair"]
        lines.append(
            f"repaired: {counted(len(done['quarantined']), 'shard')} put into quarantine/, "
            f"{counted(done['saved_clips'], 'clip')} saved from there, "
            f"{counted(len(done['finished']), 'unfinished shard')} finished, "
            f"{counted(len(done['lost_keys']), 'clip')} lost"
        )
        if done["encoded_clips"] is not None:
            lines.append(f"{counted(done['encoded_clips'], 'clip')} encoded again from the source")
        elif done["lost_keys"]:
            lines.append("to encode them again, start encode-dataset on this dataset with the same arguments")
    return lines
