"""Decoding in a process of its own, for files that nobody has looked at."""

import os
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from vidlatent.errors import InputError, VideoError

from .clip import Clip
from .source import open_video

_EXIT_SECONDS = 5


def isolated(path: str | os.PathLike[str], *, timeout_seconds: float, **options: Any) -> Iterator[Clip]:
    """Yield the clips of `open_video(path, **options)`, decoded in a child process.

    A decoder that hangs cannot be interrupted from Python, and one that crashes takes the interpreter along; here
    either becomes a VideoError. One clip is under way at a time, so memory is that of two clips. It is spawned: a
    script that calls this needs `if __name__ == "__main__":`. Closing the generator ends the child.

    Args:
        path: A local file.
        timeout_seconds: Longest wait for the next clip; the first one includes starting Python, some seconds.
        options: As for `open_video`.

    Raises:
        InputError: An argument is not allowed.
        VideoError: As `open_video`; also when no clip came in time, or the child died (the message names its signal).
    """
    if not timeout_seconds > 0:
        raise InputError(f"timeout_seconds={timeout_seconds}: expected a positive number of seconds")
    return _receive(os.fspath(path), timeout_seconds, options)


def _receive(path: str, timeout_seconds: float, options: dict[str, Any]) -> Iterator[Clip]:
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_decode, args=(path, options, sending), daemon=True)
    child.start()
    sending.close()  # the child holds the other end alone, so its death is seen as the end of the pipe
    try:
        while True:
            if not receiving.poll(timeout_seconds):
                raise VideoError(path, f"decoding hangs: no frames within {timeout_seconds:g} s")
            try:
                kind, content = receiving.recv()
            except EOFError:
                child.join(_EXIT_SECONDS)
                raise VideoError(path, f"the decoder crashed ({_fate(child.exitcode)})") from None
            if kind == "error":
                raise VideoError(*content)
            if kind == "end":
                return
            frames, times = content
            yield Clip(frames=torch.from_numpy(frames), pts_seconds=times)
    finally:
        receiving.close()
        child.kill()
        child.join(_EXIT_SECONDS)


def _fate(exit_code: int | None) -> str:
    if exit_code is None:
        return "it did not exit"
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _decode(path: str, options: dict[str, Any], sending: Connection) -> None:
    """Body of the child."""
    torch.set_num_threads(1)
    try:
        with open_video(path, **options) as source:
            for clip in source:
                # As an array: PyTorch would pass a tensor through shared memory, which containers keep small.
                sending.send(("clip", (clip.frames.numpy(), clip.pts_seconds)))
        sending.send(("end", None))
    except VideoError as error:  # in parts: exceptions are pickled with one argument
        sending.send(("error", (error.path, error.reason, error.advice)))
    except (BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        sending.send(("error", (path, f"{type(error).__name__}: {error}")))
