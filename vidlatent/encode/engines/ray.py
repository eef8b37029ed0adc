"""Ray Data: blocks of rows go out to actors, which fetch, decode, encode and write; counts come back, no frames do."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict
from math import ceil
from typing import Any
from uuid import uuid4

from vidlatent.encode.engines.devices import worker_devices
from vidlatent.encode.job import EncodeJob
from vidlatent.encode.pipeline.journal import finished_rows, write_failures
from vidlatent.encode.pipeline.ledger import Stats
from vidlatent.encode.pipeline.worker import Tell, TooManyFailures, Worker, check_failures
from vidlatent.encode.sources import ClipRow
from vidlatent.errors import MissingDependency
from vidlatent.latents import DatasetWriter, committed_keys
from vidlatent.latents.dataset.folder import open_folder

_BLOCKS_EACH, _MOST_ROWS = 16, 64
_GATHER_SECONDS = 20.0


def run_ray(job: EncodeJob, *, device: str, workers: int | None, decoders: int | None, tell: Tell) -> Stats:
    """Run a job on the Ray cluster that this process is connected to, or on one of this machine alone.

    `workers` is the number of actors, `decoders` the processes of each. An actor takes a GPU where the cluster has any,
    unless `device` is "cpu".

    Raises:
        MissingDependency: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependency(error.name or "ray", "ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    each = decoders or 1
    count = workers or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)) // each)
    rows, skipped = _open_rows(job)
    size = max(1, min(_MOST_ROWS, ceil(len(rows) / (count * _BLOCKS_EACH))))
    items = [{"rows": pickle.dumps(rows[start : start + size])} for start in range(0, len(rows), size)]
    total = Stats(skipped=skipped, total=len(rows) + skipped)
    started = time.monotonic()
    if items:
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Encode,
            fn_constructor_args=(job, "cuda" if gpus else "cpu", each),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count, initial_size=count),
            num_cpus=each,  # an actor's own thread waits while its decoders work
            num_gpus=1 if gpus else 0,
        )
        for block in blocks.iter_rows():
            total = total + Stats(**{name: block[name] for name in _COUNTS})
            total = Stats(**{**vars(total), "elapsed": time.monotonic() - started})
            tell(total)
            try:
                check_failures(job, total)
            except TooManyFailures:
                write_failures(job.out)
                raise
    _gather(job)
    return total


_COUNTS = ("clips", "frames", "seconds", "rows", "failures", "known", "ran", "waited")


def _open_rows(job: EncodeJob) -> tuple[list[ClipRow], int]:
    """Rows that are still to be encoded, and how many are not."""
    through = finished_rows(job.out, committed_keys(job.out), retry_failed=job.retry_failed)
    rows, skipped = [], 0
    for row in job.open():
        if row.digest in through:
            skipped += 1
        else:
            rows.append(row)
    return rows, skipped


def _gather(job: EncodeJob) -> None:
    """Finish the shards of actors, which end without notice, and write what is known of the whole dataset."""
    until = time.monotonic() + _GATHER_SECONDS
    while True:
        DatasetWriter(job.out, job.settings, worker=f"gather-{uuid4().hex[:8]}").close()
        open_shards = [name for name in open_folder(job.out).names("shards") if name.endswith(".part")]
        if not open_shards or time.monotonic() > until:
            break
        time.sleep(0.5)
    write_failures(job.out)


class _Encode:
    """An actor's work: one worker for all blocks that come its way."""

    def __init__(self, job: EncodeJob, device: str, decoders: int) -> None:
        own = worker_devices(device, 1)[0]
        name = f"ray-{uuid4().hex[:12]}"
        self._worker = Worker(job, job.autoencoder(own), name=name, decoders=decoders)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        stats = self._worker.run(self._rows(batch))
        counts = asdict(stats)
        return {name: [counts[name]] for name in _COUNTS}

    def _rows(self, batch: dict[str, Any]) -> Iterator[ClipRow]:
        for item in batch["rows"]:
            yield from pickle.loads(bytes(item))
