"""All jobs of an evaluation: what is done is kept, what is not is spread over processes, whatever dies is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from torch import Tensor

from vidlatent.autoencoders import LatentSpec, load
from vidlatent.errors import InputError
from vidlatent.evaluate.baselines import CODECS, INT8, fit_pca, split_name
from vidlatent.evaluate.frames import read_frames
from vidlatent.evaluate.job import Job, Row, Subject
from vidlatent.evaluate.jobs import failed_row, run_job
from vidlatent.evaluate.loaders import save_pca
from vidlatent.evaluate.protocol import Protocol

OnRow = Callable[[Row], None]
Work = Callable[[Job], Row]


def model_subjects(models: Sequence[str]) -> tuple[list[Subject], list[LatentSpec]]:
    """Models by name or path, and their latent specs. Raises `ModelError`, or `InputError` for one given twice."""
    subjects: list[Subject] = []
    specs = []
    for origin in models:
        ae = load(origin)
        name = Path(origin).stem if Path(origin).exists() else origin
        if any(subject.name == name for subject in subjects):
            name = origin
        if any(subject.name == name for subject in subjects):
            raise InputError(f"--model {origin} is given twice")
        path = str(Path(origin).absolute()) if Path(origin).exists() else origin
        subjects.append(Subject(name, "model", ae.fingerprint, path))
        specs.append(ae.latent_spec)
    return subjects, specs


def baseline_subjects(
    texts: Sequence[str],
    reference: Subject | None,
    spec: LatentSpec | None,
    *,
    clips: Sequence[Path],
    protocol: Protocol,
    folder: Path,
) -> list[Subject]:
    """Baselines as they were written; without a number they match the first model's bits, values or latent size.

    Raises `InputError` for what is no baseline, and for what would match a model that is not there.
    """
    subjects = []
    for text in texts:
        kind, value = split_name(text)
        if (value is None or value == INT8) and (reference is None or spec is None):
            raise InputError(f"baseline {text}: nothing to match without a --model; give a number as in {text}@0.5")
        if kind == "pca":
            assert spec is not None
            subjects.append(_pca_subject(spec, clips=clips, protocol=protocol, folder=folder))
        elif kind == "bicubic":
            if value is None:
                assert spec is not None
                stride = spec.stride[0] * spec.stride[1] * spec.stride[2]
                value = (3 * stride / spec.channels) ** 0.5
            subjects.append(Subject(text, kind, f"bicubic {value:.6g}", value=float(value)))
        elif isinstance(value, float):
            subjects.append(Subject(text, kind, f"{kind} at {value:g} bits per pixel", value=value))
        else:
            assert reference is not None
            subject = Subject(text, kind, f"{kind} at {reference.fingerprint}", matches=reference.name)
            uncoded = replace(subject, fingerprint=f"{subject.fingerprint}, {INT8}", rate="int8_bits_per_pixel")
            subjects.append(uncoded if value == INT8 else subject)
    return subjects


def _pca_subject(spec: LatentSpec, *, clips: Sequence[Path], protocol: Protocol, folder: Path) -> Subject:
    """The linear code of a model's latent size, fitted to the clips themselves: no linear code does better on them."""
    name = f"pca-{'x'.join(map(str, spec.stride))}-{spec.channels}"
    path = folder / "baselines" / f"{name}.safetensors"
    origin = str(path.absolute())
    if not path.exists():
        usable = (frames for clip in clips if (frames := _frames_or_none(clip, protocol)) is not None)
        save_pca(fit_pca(usable, spec.stride, spec.channels), path)
    return Subject(name, "pca", hashlib.sha256(path.read_bytes()).hexdigest()[:32], origin)


def _frames_or_none(clip: Path, protocol: Protocol) -> list[Tensor] | None:
    """A clip that cannot be evaluated is not fitted to either; its own rows tell why."""
    with suppress(InputError):
        return list(read_frames(clip, protocol))
    return None


def finished(folder: Path, protocol: Protocol) -> dict[tuple[str, str], Row]:
    """Good rows of earlier runs in this folder, by clip and candidate. Raises `InputError` if of another protocol."""
    rows = {}
    for path in sorted((folder / "rows").glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["protocol"] != protocol.hash:
            raise InputError(f"{path}: of another protocol ({row['protocol']}, this is {protocol.hash})")
        rows[row["clip"], row["candidate"]] = row
    return rows


def run_jobs(jobs: Iterable[Job], workers: int, on_row: OnRow, *, work: Work = run_job) -> None:
    """Run jobs, `workers` at a time, each with its row; a process that dies costs its own job only."""
    todo = list(jobs)
    if workers <= 1:
        for job in todo:
            on_row(work(job))
        return
    left = set(range(len(todo)))
    for index, row in _in_pool(todo, workers, work):
        left.discard(index)
        on_row(row)
    # A death takes the whole pool along; those it took are run one by one, so that only the guilty one fails.
    for index in sorted(left):
        rows = [row for _, row in _in_pool([todo[index]], 1, work)]
        on_row(rows[0] if rows else failed_row(todo[index], "the process died: out of memory, or a crash in a library"))


def _in_pool(jobs: Sequence[Job], workers: int, work: Work) -> Iterator[tuple[int, Row]]:
    pool = ProcessPoolExecutor(min(workers, len(jobs)) or 1, mp_context=get_context("spawn"))
    try:
        futures: dict[Future[Row], int] = {pool.submit(work, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            with suppress(BrokenProcessPool):
                yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, nothing more is begun


def by_clip(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs of each clip, in the order in which clips come."""
    clips = dict.fromkeys(job.clip for job in jobs)
    return [[job for job in jobs if job.clip == clip] for clip in clips]


def phases(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Jobs that stand alone, and codecs that match the bits of a row among those."""
    matched = [job for job in jobs if job.subject.kind in CODECS and job.subject.value is None]
    return [job for job in jobs if job not in matched], matched


def with_rates(jobs: Sequence[Job], rows: dict[tuple[str, str], Row]) -> list[Job]:
    """Codecs told how many bits per pixel to match on their clip; None where the model failed on it."""
    return [
        replace(job, rate=rows.get((job.clip, job.subject.matches or ""), {}).get(job.subject.rate)) for job in jobs
    ]
