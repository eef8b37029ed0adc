"""The whole evaluation: candidates, protocol, jobs, tables, page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlatent.errors import InputError
from vidlatent.evaluate.job import Job, Row, Subject
from vidlatent.evaluate.loaders import load_distance, load_features
from vidlatent.evaluate.probe import diffusion_probe
from vidlatent.evaluate.protocol import Protocol, find_clips, identified
from vidlatent.evaluate.results import check_pyarrow, summarize, write_results
from vidlatent.evaluate.runner import (
    baseline_subjects,
    by_clip,
    finished,
    model_subjects,
    phases,
    run_jobs,
    with_rates,
)
from vidlatent.files import write_text
from vidlatent.metrics import vmaf_version

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How an evaluation is run: what does not change the numbers, but for speed and memory, and where weights are.

    `devices` are given out to jobs in turn; `threads` None shares the cores among the workers. `lpips_weights` and
    `features_weights` are local files or folders.
    """

    memory: str | int | None = None
    workers: int = 1
    devices: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    lpips_net: str = "vgg"
    lpips_weights: tuple[str, ...] | None = None
    features_weights: str | None = None
    previews: bool = True


@dataclass(frozen=True)
class Evaluation:
    """What came of it: every row, and the summary that `summary.json` holds."""

    rows: list[Row]
    summary: dict[str, Any]
    folder: Path
    resumed: int


def evaluate(
    source: str | Path,
    models: Sequence[str],
    folder: str | Path,
    *,
    baselines: Sequence[str] = (),
    frames: int = 33,
    size: tuple[int, int] | None = (256, 256),
    fps: str | None = None,
    features: str | None = None,
    probe: bool = False,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure models and baselines on clips; what an earlier run of the same protocol finished is not run again.

    Args:
        source: A video, a folder of them, or a text file that lists them.
        models: Names or paths, as for `vidlatent.load`.
        folder: Where rows, `results.parquet` and `summary.json` go.
        baselines: "pca", "h264", "h265", "av1", "bicubic"; those without a number match the first model.
        frames, size, fps: What every clip is brought to: its first `frames`, scaled and cropped to (H, W); None leaves
            size or rate as they are.
        features: "i3d", "videomae" or "random" for rFVD and the kernel distance; None leaves them out.
        probe: Also measure equivariance and the round trip of latents.
        settings: How to run it.
        progress: Called with the rows done and all there are.

    Raises:
        InputError: Nothing to evaluate, or the folder holds results of another protocol or of other weights.
        ModelError: A model or weight file is wrong; what goes wrong on single clips becomes a row instead.
    """
    settings, folder = settings or Settings(), Path(folder)
    check_pyarrow()
    if not models and not baselines:
        raise InputError("nothing to evaluate: give at least one model or baseline")
    distance = load_distance(settings.lpips_net, settings.lpips_weights)
    if features is not None:
        load_features(features, settings.features_weights)
    clips = find_clips(Path(source))
    protocol = Protocol(
        clips=identified(clips),
        frames=frames,
        size=size,
        fps=fps,
        perceptual=distance.name,
        features=features,
        probe=probe,
        vmaf=vmaf_version(),
    )
    _claim(folder, protocol)
    subjects, specs = model_subjects(models)
    reference = (subjects[0], specs[0]) if subjects else (None, None)
    subjects += baseline_subjects(baselines, *reference, clips=clips, protocol=protocol, folder=folder)
    rows = finished(folder, protocol)
    subjects = _with_earlier(subjects, rows)
    jobs = _jobs(clips, protocol, subjects, folder, settings)
    done = {key for key, row in rows.items() if row["status"] == "ok"}
    resumed = sum((job.clip, job.subject.name) in done for job in jobs)
    total, count = len(jobs), resumed

    def on_row(row: Row) -> None:
        nonlocal count
        count += 1
        rows[row["clip"], row["candidate"]] = row
        if progress:
            progress(count, total)

    todo = [job for job in jobs if (job.clip, job.subject.name) not in done]
    # One process ends with a clip before it begins another, and so finds its motion once.
    for batch in by_clip(todo) if settings.workers == 1 else [todo]:
        first, matched = phases(batch)
        run_jobs(first, settings.workers, on_row)
        run_jobs(with_rates(matched, rows), settings.workers, on_row)
    order = {name: index for index, (name, _) in enumerate(protocol.clips)}
    listed = sorted(rows.values(), key=lambda row: (order[row["clip"]], row["candidate"]))
    summary = summarize(listed, subjects, protocol, folder)
    if probe:
        _add_probes(summary, subjects, listed, folder)
    write_results(folder, listed, summary)
    return Evaluation(listed, summary, folder, resumed)


def _add_probes(summary: dict[str, Any], subjects: Sequence[Subject], rows: Sequence[Row], folder: Path) -> None:
    origins = {subject.name: subject.origin for subject in subjects if subject.kind == "model"}
    for record in summary["candidates"]:
        name, averaged = record["candidate"], summary["clips_averaged"]
        mine = [row for row in rows if row["candidate"] == name and row["clip"] in averaged]
        record |= diffusion_probe(mine, folder, origins.get(name) or None)


def _claim(folder: Path, protocol: Protocol) -> None:
    """Make the folder this protocol's, or check that it is."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file: the results go to a folder")
    path = folder / "protocol.json"
    if path.exists():
        protocol.check_same(Protocol.model_validate_json(path.read_text(encoding="utf-8")))
    else:
        write_text(path, json.dumps(protocol.model_dump(mode="json"), indent=2) + "\n")


def _with_earlier(subjects: Sequence[Subject], rows: dict[tuple[str, str], Row]) -> list[Subject]:
    """These candidates and those that earlier runs measured. Raises `InputError` if one has other weights now."""
    known = {subject.name: subject for subject in subjects}
    for row in rows.values():
        name = row["candidate"]
        if name not in known:
            known[name] = Subject(name, row["kind"], row["fingerprint"])
        elif known[name].fingerprint != row["fingerprint"]:
            raise InputError(
                f"{name}: the folder holds results of {row['fingerprint']}, this one is {known[name].fingerprint}: "
                "choose another folder, or remove the rows of that candidate"
            )
    return list(known.values())


def _jobs(
    clips: Sequence[Path], protocol: Protocol, subjects: Sequence[Subject], folder: Path, settings: Settings
) -> list[Job]:
    runnable = [subject for subject in subjects if subject.origin or subject.value or subject.matches]
    jobs: list[Job] = []
    threads = settings.threads
    if threads is None and settings.workers > 1:
        threads = max(1, (os.cpu_count() or 1) // settings.workers)
    for path, (name, _) in zip(clips, protocol.clips, strict=True):
        for subject in runnable:
            jobs.append(
                Job(
                    folder=str(folder),
                    protocol=protocol,
                    path=str(path),
                    clip=name,
                    subject=subject,
                    memory=settings.memory,
                    device=settings.devices[len(jobs) % len(settings.devices)],
                    perceptual_net=settings.lpips_net,
                    perceptual_weights=settings.lpips_weights,
                    features_weights=settings.features_weights,
                    previews=settings.previews,
                    threads=threads,
                )
            )
    return jobs
