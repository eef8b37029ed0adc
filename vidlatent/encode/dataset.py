"""A whole source of videos to a latent dataset, on whatever machines there are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch

from vidlatent.autoencoders import Autoencoder, load
from vidlatent.encode.config import EncodeConfig, save_job, saved_job, validated
from vidlatent.encode.engines import Engine
from vidlatent.encode.engines.launched import placement, run_launched
from vidlatent.encode.engines.local import run_local
from vidlatent.encode.engines.ray import run_ray
from vidlatent.encode.job import EncodeJob, Precision, make_job
from vidlatent.encode.pipeline.journal import check_writable
from vidlatent.encode.pipeline.ledger import Stats
from vidlatent.encode.policy import ClipPolicy, Shape, Size, Tail
from vidlatent.encode.sources.files import is_url, local
from vidlatent.errors import InputError
from vidlatent.io.rates import as_fps
from vidlatent.latents.dataset.folder import open_folder
from vidlatent.latents.dataset.settings import DatasetKind, DatasetType
from vidlatent.streaming.planner import parse_bytes

Source = str | os.PathLike[str]


def encode_dataset(
    source: Source | Sequence[Source],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Autoencoder,
    engine: Engine = "local",
    workers: int | None = None,
    decoders: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    memory: int | str | None = None,
    batch: int | None = None,
    buffer: int | str = 2**28,
    size: Size | None = None,
    frames: int | None = None,
    stride: int | None = None,
    fps: int | float | Fraction | None = None,
    tail: Tail = "drop",
    buckets: Sequence[str] = (),
    kind: DatasetKind = "mean",
    dtype: DatasetType = "bfloat16",
    path_column: str = "",
    caption_column: str = "",
    timeout_seconds: float = 60.0,
    max_failures: int | None = None,
    retry_failed: bool = False,
    shard_bytes: int | str = 2**30,
    commit_seconds: float = 10.0,
    progress: Callable[[Stats], None] | None = None,
) -> Stats:
    """Encode every video of a source into a latent dataset; started again, it goes on where it was.

    Each clip is encoded exactly once, whatever is killed at whatever moment: its key is the hash of the video's bytes,
    of the span and of what was done to the frames. New files in the source are encoded by the next call, others are
    not. A video that cannot be encoded becomes a line in `failures.jsonl`, and the run goes on. Decoding runs in
    processes: a script that calls this needs `if __name__ == "__main__":`.

    Args:
        source: Folder, glob, table, tar shards or Hugging Face folder, or several of these; see `open_source`.
        out: Folder or URL of the dataset, which may exist.
        model: What `vl.load` takes; an `Autoencoder` only where one worker of this process does all.
        engine: "local", this machine's devices; "accelerate", one of the processes that `accelerate launch`, torchrun
            or srun started; "ray", a Ray cluster. The same arguments give the same dataset on all three.
        workers: Autoencoders at work: processes, or Ray actors; None is one for each GPU, or one. The launcher says
            for "accelerate".
        decoders: Decode processes of each worker; None shares out the cores.
        device: "auto" takes GPUs where there are any.
        precision: What the autoencoder computes in; "auto" is what the dataset was begun in, for a new one bfloat16 on
            GPUs and float32 elsewhere.
        memory: Budget of the autoencoder for a batch, in bytes or as "2GiB"; it never changes the answer.
        batch: Most clips at once; None decides by their size.
        buffer: Decoded frames that wait for the model, in bytes, for each worker.
        size: (H, W), scaled to cover and cropped at the centre, or one number for the shorter side.
        frames, stride: Windows of so many frames, so many apart (end to end by default); None takes whole videos.
        fps: Constant rate; None keeps a video's own frames and times.
        tail: "drop" the frames after the last whole window, or "keep" them as a shorter clip.
        buckets: Instead of size, frames and fps: shapes such as "480x832x81@16", of which each video gets the nearest.
        kind: "mean", "moments" (mean and log-variance) or a "sample" of the posterior.
        dtype: Type of the stored numbers.
        path_column, caption_column: Columns of tables; None tries the usual names.
        timeout_seconds: Longest wait for the next frames of a video before it counts as hanging.
        max_failures: Videos that may fail before the run stops; None is any number.
        retry_failed: Try again what failed before.
        shard_bytes: Size of the dataset's tar files.
        commit_seconds: What is encoded is made durable so often; at a URL, where that makes a shard, every ten minutes.
        progress: Called with the counts about twice a second.

    Returns:
        The counts of this run.

    Raises:
        InputError: An argument or the source is not what is allowed.
        LatentFileError: The dataset holds latents of another model or other settings, each named; or it cannot be
            written. What was committed is safe.
        TooManyFailures: More than `max_failures`.
    """
    if engine not in ("local", "accelerate", "ray"):
        raise InputError(f"engine={engine!r}: expected 'local', 'accelerate' or 'ray'")
    if not timeout_seconds > 0 or (max_failures is not None and max_failures < 0) or (batch is not None and batch < 1):
        raise InputError(
            f"timeout_seconds={timeout_seconds}, max_failures={max_failures}, batch={batch}: expected a positive time, "
            "failures of at least 0 and a batch of at least 1"
        )
    given = isinstance(model, Autoencoder)
    if given and (engine == "ray" or (workers or 1) > 1):
        raise InputError("an Autoencoder stays in this process: save it (save_checkpoint) and give the path as model")
    out, name = os.fspath(out), _stored_name(model)
    sources = tuple(map(_absolute, [source] if isinstance(source, str | os.PathLike) else source))
    policy = ClipPolicy(Shape(size, frames, None if fps is None else as_fps(fps)), stride, tail, _buckets(buckets))
    check_writable(out)
    ae = model if isinstance(model, Autoencoder) else load(os.fspath(model))
    job = make_job(
        ae,
        model=name,
        policy=policy,
        kind=kind,
        dtype=dtype,
        precision=_precision(precision, device, out),
        sources=sources,
        out=out,
        memory=memory,
        batch=batch,
        buffer_bytes=parse_bytes(buffer),
        path_column=path_column,
        caption_column=caption_column,
        timeout_seconds=timeout_seconds,
        max_failures=max_failures,
        retry_failed=retry_failed,
        shard_bytes=parse_bytes(shard_bytes),
        commit_seconds=commit_seconds,
    )
    job.open()  # a source that is none is told before anything is made
    job.begin()
    if not given and (engine != "accelerate" or placement()[0] == 0):
        save_job(_as_config(job, locals()))
    tell = progress or _silently
    if engine == "ray":
        return run_ray(job, device=device, workers=workers, decoders=decoders, tell=tell)
    if engine == "accelerate":
        return run_launched(job, ae, device=device, decoders=decoders, tell=tell)
    return run_local(job, ae, device=device, workers=workers, decoders=decoders, tell=tell)


def resume_dataset(
    out: str | os.PathLike[str], *, progress: Callable[[Stats], None] | None = None, **changes: Any
) -> Stats:
    """Go on with a dataset as it was begun, by the `job.json` in it: after a crash, a repair, or with new files.

    Args:
        out: The dataset.
        progress: As for `encode_dataset`.
        changes: Other arguments of `encode_dataset` that are to be different.

    Raises:
        LatentFileError: It does not say how it was made, and as `encode_dataset`.
    """
    config = saved_job(os.fspath(out))
    config = validated({**config.arguments(), **changes}, "arguments")
    return encode_dataset(**config.arguments(), progress=progress)


def _as_config(job: EncodeJob, arguments: dict[str, Any]) -> EncodeConfig:
    """The arguments as they were given, with names that mean the same from elsewhere."""
    kept = {name: arguments[name] for name in EncodeConfig.model_fields}
    return validated(
        {**kept, "source": list(job.sources), "model": job.model, "fps": job.policy.shape.fps}, "arguments"
    )


def _buckets(texts: Sequence[str]) -> tuple[Shape, ...]:
    return tuple(Shape.parse(text) for text in texts)


def _silently(stats: Stats) -> None:
    """Nobody wants to know."""
    del stats


def _stored_name(model: str | os.PathLike[str] | Autoencoder) -> str:
    if isinstance(model, Autoencoder):
        return model.family
    name = os.fspath(model)
    return os.path.abspath(name) if os.path.exists(name) else name


def _absolute(source: Source) -> str:
    name = local(os.fspath(source))
    return name if is_url(name) else os.path.abspath(name)


def _precision(asked: Precision, device: str, out: str) -> Precision:
    """What to compute in; a dataset stays with what it was begun in."""
    if asked != "auto":
        return asked
    try:
        recipe = json.loads(open_folder(out).read(["dataset.json"])[0])["recipe"]
        begun: Any = recipe["precision"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        begun = None
    if begun in ("float32", "bfloat16"):
        return begun
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return "bfloat16" if on_gpu else "float32"
