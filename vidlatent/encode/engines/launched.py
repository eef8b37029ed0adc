"""One of many processes that a launcher started alike: `accelerate launch`, torchrun, srun.

They share a file system and nothing else. Each takes the rows whose hash is its own, and no process ever waits for
another, so that a long video on one of them is no timeout on the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.engines.devices import decoders_each, worker_devices
from vidlatent.encode.job import EncodeJob
from vidlatent.encode.pipeline.ledger import Stats
from vidlatent.encode.pipeline.worker import Tell, Worker
from vidlatent.errors import InputError
from vidlatent.latents import write_stats
from vidlatent.latents.dataset.folder import open_folder

_RANK = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_WORLD = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_LOCAL_WORLD = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")


def placement() -> tuple[int, int, int, int]:
    """(rank, world, local rank, local world) as the launcher says; alone where none does.

    Raises:
        InputError: They contradict each other.
    """
    rank, world, local = _number(_RANK, 0), _number(_WORLD, 1), _number(_LOCAL, 0)
    here = _number(_LOCAL_WORLD, world)
    if not (0 <= rank < world and local >= 0):
        raise InputError(f"the launcher says that this is process {rank} of {world}, {local} on its machine")
    return rank, world, local, max(1, here)


def _number(names: Sequence[str], default: int) -> int:
    text = next((os.environ[name] for name in names if name in os.environ), "")
    return int(text) if text.isdecimal() else default


def run_launched(job: EncodeJob, ae: Autoencoder | None, *, device: str, decoders: int | None, tell: Tell) -> Stats:
    """Run this process's share of a job; its own counts."""
    rank, world, local, here = placement()
    devices = worker_devices(device, None)
    own = devices[local % len(devices)]
    source = job.open()
    ready = job.autoencoder(own) if ae is None else job.prepared(ae, own)
    folder, mark = open_folder(job.out), "progress/w{}.through"
    if folder.size(mark.format(rank)):
        folder.write(mark.format(rank), b"")
    with Worker(job, ready, name=f"w{rank}", decoders=decoders_each(decoders, here), tell=tell) as worker:
        total = None if source.num_rows is None else round(source.num_rows / world)
        stats = worker.run(job.share(rank, world), total=total)
    folder.write(mark.format(rank), b"through\n")
    if all(folder.size(mark.format(other)) for other in range(world)):
        write_stats(job.out)  # by who comes last, when all shards are closed
    return stats
