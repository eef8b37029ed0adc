"""What a run tells while it goes: lines of a log, trackers, and a progress line with throughput and time left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from vidlatent.files import write_text
from vidlatent.train.settings import LoopConfig


@dataclass(frozen=True)
class Progress:
    """Where a run is: `values` are means since the last news, `rate` is in samples per second over all processes."""

    step: int
    steps: int
    stage: str
    values: Mapping[str, float]
    rate: float
    seconds_left: float

    def __str__(self) -> str:
        left = timedelta(seconds=round(self.seconds_left))
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{self.stage} {self.step}/{self.steps}, {self.rate:.2f} samples/s, {left} left: {values}"


class Recorder:
    """Gathers what steps say and passes on their means; `log.jsonl` has a line per piece of news."""

    def __init__(
        self, accelerator: Any, config: LoopConfig, steps: int, show: Callable[[Progress], None] | None
    ) -> None:
        self._accelerator, self._config, self._steps, self._show = accelerator, config, steps, show
        self._log = config.out / "log.jsonl"
        self._sums: dict[str, list[Tensor | float]] = {}
        self._clock, self._samples, self._first = time.monotonic(), 0, 0

    def resume(self, step: int) -> None:
        """Forget what the log says of steps that are taken again, and start the trackers."""
        self._first, self._clock = step, time.monotonic()
        if self._config.trackers:
            options: dict[str, Any] = {"tensorboard": {"purge_step": step}} if step else {}
            self._accelerator.init_trackers("trackers", init_kwargs=options)
        if self._accelerator.is_main_process and self._log.exists():
            lines = self._log.read_text().splitlines()
            kept = [line for line in lines if _is_whole(line) and json.loads(line)["step"] <= step]
            write_text(self._log, "".join(f"{line}\n" for line in kept))

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Values of this step; tensors are not read before they are told."""
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value.detach() if isinstance(value, Tensor) else value)

    def stepped(self, step: int, stage: str, samples: int) -> None:
        """A step is done, counted from 0."""
        self._samples += samples * self._accelerator.num_processes
        if (step + 1) % self._config.log_every and step + 1 != self._steps:
            return
        values = {
            name: float(torch.stack([torch.as_tensor(v).float().cpu() for v in seen]).mean())
            for name, seen in self._sums.items()
        }
        self._sums = {}
        seconds = max(time.monotonic() - self._clock, 1e-9)
        left = seconds / (step + 1 - self._first) * (self._steps - step - 1)
        news = Progress(step + 1, self._steps, stage, values, self._samples / seconds, left)
        self._write(step + 1, {"stage": stage, **values})
        if self._show and self._accelerator.is_main_process:
            self._show(news)

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of an evaluation."""
        if metrics:
            self._write(step, {f"eval/{name}": value for name, value in metrics.items()})

    def flush(self) -> None:
        """Nothing gathered is carried over a checkpoint: a resumed run gathers from there."""
        self._sums = {}

    def close(self) -> None:
        """End the trackers."""
        if self._config.trackers:
            self._accelerator.end_training()

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        if not self._accelerator.is_main_process:
            return
        with self._log.open("a") as log:
            log.write(json.dumps({"step": step, **values}) + "\n")
        if self._config.trackers:
            self._accelerator.log({k: v for k, v in values.items() if isinstance(v, float)}, step=step)


def _is_whole(line: str) -> bool:
    try:
        return "step" in json.loads(line)
    except ValueError:
        return False
