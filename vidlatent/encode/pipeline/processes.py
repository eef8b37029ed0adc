"""Processes of a run: how they are started, what they are called, and that they end with whoever started them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

_PRELOADED = (
    "vidlatent.encode.pipeline.decoder",
    "vidlatent.encode.engines.local",
    "vidlatent.autoencoders.families",
    "vidlatent.io._av",
)


def process_context() -> BaseContext:
    """How processes are started: from a server that has imported what they need, where the system can."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    return context


def start(process: Any) -> None:
    """Start a process; once more, should the server that does it die while it is asked."""
    try:
        process.start()
    except (EOFError, OSError):
        process.start()


def enter(name: str) -> None:
    """What a process of a run does first; `name` is what `ps` and `top` call it, 15 letters at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the owner decides
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/comm").write_text(name)
    threading.Thread(target=_die_with_owner, daemon=True).start()


def _die_with_owner() -> None:
    """End this process when the one that started it is gone, whatever that died of."""
    owner = parent_process()
    if owner is not None:
        wait([owner.sentinel])
        os._exit(1)
