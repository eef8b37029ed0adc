"""What a run was begun with: resumed with anything else, it would be neither the one run nor the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vidlatent.errors import InputError
from vidlatent.files import write_text
from vidlatent.train import checkpoints
from vidlatent.train.settings import LoopConfig

_NAME = "run.json"
_FREE = {"out", "trackers", "log_every", "save_every", "evaluate_every", "keep", "evaluation"}
"""What does not change the weights."""


def check_same_run(config: LoopConfig, *, write: bool) -> None:
    """Compare with what `config.out` was begun with. Raises `InputError` naming every difference.

    Where nothing was kept of a run yet, it is written down anew, by the process that is told to `write`.
    """
    path = config.out / _NAME
    now = config.model_dump(mode="json", exclude=_FREE)
    if path.exists() and checkpoints.newest(config.out):
        before = json.loads(path.read_text())
        changed = [f"{key} was {a!r}, is {b!r}" for key, a, b in _differences(before, now, "")]
        if changed:
            raise InputError(
                f"{config.out} holds a run that was begun otherwise: {'; '.join(changed)}. Choose another out, or "
                "remove that one"
            )
    elif write:
        write_text(path, json.dumps(now, indent=2))


def _differences(before: Any, now: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as (key, before, now)."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = ({str(i): item for i, item in enumerate(items)} for items in (before, now))
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now
