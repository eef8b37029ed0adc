"""Devices and cores, shared out among the workers of a machine."""

from __future__ import annotations

import os

import torch

from vidlatent.errors import InputError

_MOST_DECODERS = 16


def worker_devices(device: str, workers: int | None) -> list[str]:
    """The device of each worker: "auto" takes every GPU there is, else the CPU once. Raises `InputError`."""
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: expected at least 1")
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device == "auto":
        devices = found or ["cpu"]
    elif device == "cuda":
        devices = found
    else:
        devices = [device]
    for name in devices or [device]:
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device {name}: not available here ({str(error).splitlines()[0]})") from error
    return [devices[rank % len(devices)] for rank in range(workers or len(devices))]


def decoders_each(decoders: int | None, workers_here: int) -> int:
    """Decode processes of each worker: as told, or the cores of this machine shared out. Raises `InputError`."""
    if decoders is not None:
        if decoders < 1:
            raise InputError(f"decoders={decoders}: expected at least 1")
        return decoders
    return max(1, min(_MOST_DECODERS, (os.cpu_count() or 1) // workers_here))
