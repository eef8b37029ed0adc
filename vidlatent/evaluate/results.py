"""Rows to tables: means over clips that all candidates managed, `results.parquet` and `summary.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vidlatent.errors import MissingDependency
from vidlatent.evaluate.job import Row, Subject
from vidlatent.evaluate.protocol import Protocol
from vidlatent.files import PartialFile, write_text
from vidlatent.metrics import frechet_distance, kernel_distance

AVERAGED = (
    *("psnr", "psnr_mean_over_frames", "ssim", "ms_ssim", "perceptual", "vmaf"),
    *("flicker", "warped_error", "warped_error_of_original", "seam"),
    *("values_per_pixel", "bits_per_pixel", "int8_bits_per_pixel", "rate_bits_per_pixel", "rate_psnr"),
    *("encode_fps", "decode_fps", "latent_effective_channels", "latent_high_share"),
    *("scale_error", "shift_error", "round_trip_gap"),
)
AVERAGED_CURVES = (
    *("group_psnr", "spectrum", "spectrum_of_original"),
    *("latent_spectrum", "latent_eigenvalues", "latent_mean", "latent_std", "latent_kurtosis"),
)


def check_pyarrow() -> None:
    """Raise `MissingDependency` before hours of work rather than after."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependency("pyarrow", "evaluate") from error


def summarize(rows: Sequence[Row], subjects: Sequence[Subject], protocol: Protocol, folder: Path) -> dict[str, Any]:
    """The summary: the protocol, its hashes, and a record for each candidate, best PSNR first.

    Means are over the clips on which no candidate failed, the same clips for all; a candidate that managed none stands
    at the end without figures and does not take the others' clips away.
    """
    good = {(row["clip"], row["candidate"]): row for row in rows if row["status"] == "ok"}
    clips = [name for name, _ in protocol.clips]
    counts = {subject.name: sum((clip, subject.name) in good for clip in clips) for subject in subjects}
    taking_part = [subject.name for subject in subjects if counts[subject.name]]
    common = [clip for clip in clips if all((clip, name) in good for name in taking_part)]
    records = []
    for subject in subjects:
        mine = [good[clip, subject.name] for clip in common if (clip, subject.name) in good]
        record: dict[str, Any] = {"candidate": subject.name, "kind": subject.kind, "fingerprint": subject.fingerprint}
        record |= {"clips_done": counts[subject.name], "clips_failed": len(clips) - counts[subject.name]}
        record |= _means(mine) | _set_distances(mine, folder, protocol.features)
        records.append(record)
    records.sort(key=lambda record: -(record.get("psnr") or -math.inf))
    fingerprints = {subject.name: subject.fingerprint for subject in subjects}
    return {
        "vidlatent": version("vidlatent"),
        "protocol_hash": protocol.hash,
        "results_hash": protocol.with_candidates(fingerprints),
        "protocol": protocol.model_dump(mode="json"),
        "clips_averaged": common,
        "candidates": records,
    }


def _means(rows: Sequence[Row]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for name in AVERAGED:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values and len(values) == len(rows):
            means[name] = math.fsum(values) / len(values)
    for name in AVERAGED_CURVES:
        curves = [row[name] for row in rows if row.get(name)]
        if len(curves) == len(rows) and len({len(curve) for curve in curves}) == 1:
            columns = zip(*curves, strict=True)
            means[name] = [None if None in column else math.fsum(column) / len(column) for column in columns]
    peaks = [row["peak_bytes"] for row in rows if row.get("peak_bytes") is not None]
    return means | ({"peak_bytes": max(peaks)} if peaks else {})


def _set_distances(rows: Sequence[Row], folder: Path, features: str | None) -> dict[str, Any]:
    """Between all windows of the clips and all windows of their reconstructions."""
    files = [folder / "features" / f"{row['key']}.safetensors" for row in rows]
    if not files or not all(file.exists() for file in files):
        return {}
    loaded = [load_file(file) for file in files]
    got, want = (torch.cat([tensors[name] for tensors in loaded]).double() for name in ("got", "want"))
    if len(got) < 2:
        return {}
    moments = [(features.mean(0), torch.cov(features.T)) for features in (got, want)]
    return {
        "random_distance" if features == "random" else "rfvd": frechet_distance(*moments[0], *moments[1]),
        "kernel_distance": kernel_distance(got, want),
        "windows": len(got),
    }


def write_results(folder: Path, rows: Sequence[Row], summary: dict[str, Any]) -> None:
    """Write `results.parquet`, one row a clip and candidate, and `summary.json`."""
    import pyarrow as pa
    from pyarrow import parquet

    names = sorted({name for row in rows for name in row})
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
    with PartialFile(folder / "results.parquet") as partial:
        parquet.write_table(table, partial)
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
