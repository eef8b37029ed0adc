"""Checkpoints of a run: whole folders that appear by a rename, so that the newest is always complete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from vidlatent.errors import InputError
from vidlatent.train.average import Average

_STATE = "state.json"


def newest(out: Path) -> Path | None:
    """The last complete checkpoint of a run, if there is one."""
    found = sorted((out / "checkpoints").glob("step-*"))
    return found[-1] if found else None


def save(
    out: Path, accelerator: Any, state: dict[str, Any], averages: dict[str, Average], data: dict[str, Any], keep: int
) -> None:
    """Write everything that the run is at this moment; `data` is this process's own, the rest is common to all."""
    target = out / "checkpoints" / f"step-{state['step']:08d}"
    part = target.with_name(f".{target.name}")
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part))
    rank = accelerator.process_index
    (part / f"data-{rank}.json").write_text(json.dumps(data))
    torch.save({name: [average.step, average.weights] for name, average in averages.items()}, part / f"average-{rank}")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (part / _STATE).write_text(json.dumps(state))
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        for old in sorted(target.parent.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def read_state(folder: Path) -> dict[str, Any]:
    """Step and stage of a checkpoint. Raises `InputError` where it is damaged."""
    try:
        return json.loads((folder / _STATE).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: a damaged checkpoint ({error}): remove it to go on from the one before") from error


def restore(folder: Path, accelerator: Any, averages: dict[str, Average]) -> dict[str, Any]:
    """Give models, optimizers and averages what `save` wrote; returns the state of this process's data."""
    rank, made_by = accelerator.process_index, len(list(folder.glob("data-*.json")))
    if made_by != accelerator.num_processes:
        raise InputError(f"{folder}: made by {made_by} processes, now {accelerator.num_processes}: resume with as many")
    accelerator.load_state(str(folder))
    saved = torch.load(folder / f"average-{rank}", map_location=accelerator.device.type, weights_only=True)
    for name, average in averages.items():
        average.step, average.weights = saved[name]
    return json.loads((folder / f"data-{rank}.json").read_text())
