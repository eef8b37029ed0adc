"""Preloaded into a server of processes: what it starts asks it for further ones, and starts no server of its own.

So a job that is killed and started again waits for no imports. Import it nowhere else.
"""

from multiprocessing import forkserver

forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]
