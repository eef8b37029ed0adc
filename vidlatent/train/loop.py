"""The training loop: stages, several optimizers, averages, exact resume. What is trained is a `Task`'s business.

A run that was killed at any moment and is started again gives the parameters of the uninterrupted run: checkpoints
appear whole, data says where it is, and every step seeds the random numbers by its own number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.errors import VidlatentError
from vidlatent.train import checkpoints
from vidlatent.train._accelerate import check_can_hold, gathered, make_accelerator, prepare, seed_all
from vidlatent.train.average import Average
from vidlatent.train.optimizers import make_optimizer
from vidlatent.train.progress import Progress, Recorder
from vidlatent.train.record import check_same_run
from vidlatent.train.settings import LoopConfig, StageConfig
from vidlatent.train.task import Batches, Loss, Part, Task


class Diverged(VidlatentError):  # noqa: N818 - reads as what it is
    """A loss is not a number; the message names the step and where the batch was saved."""


@dataclass
class _Running:
    """A stage at work: models and optimizers as the machine wraps them."""

    parts: dict[str, Part]
    models: dict[str, torch.nn.Module]
    optimizers: dict[str, Any]
    averages: dict[str, Average]
    data: Batches


def train(
    task: Task,
    config: LoopConfig,
    stages: Sequence[StageConfig],
    *,
    show: Callable[[Progress], None] | None = None,
) -> dict[str, float]:
    """Train `task` through `stages`, or go on from the last checkpoint in `config.out`; returns the last metrics.

    `show` is told of the progress every `log_every` steps. Raises `Diverged` for a loss that is not finite, with the
    batch saved, and `InputError` where `config.out` holds a run begun otherwise.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    return _Loop(task, config, stages, show).run()


class _Loop:
    """A run from its checkpoint to its end."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        stages: Sequence[StageConfig],
        show: Callable[[Progress], None] | None,
    ) -> None:
        self.task, self.config, self.stages = task, config, stages
        self.accelerator = make_accelerator(config)
        check_same_run(config, write=self.accelerator.is_main_process)
        self.step = 0  # optimizer steps done, over all stages
        self.averages: dict[str, Average] = {}
        total = sum(stage.steps for stage in stages)
        self.recorder = Recorder(self.accelerator, config, total, show)
        self.metrics: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """All stages that are left."""
        checkpoint, first = checkpoints.newest(self.config.out), 0
        if checkpoint:
            state = checkpoints.read_state(checkpoint)
            self.step, first, self.metrics = state["step"], state["stage"], state["metrics"]
        self.recorder.resume(self.step)
        start = 0
        for index, stage in enumerate(self.stages):
            if index >= first:
                self._run_stage(index, start, checkpoint if index == first else None)
            start += stage.steps
        self.recorder.close()
        return self.metrics

    def _run_stage(self, index: int, start: int, checkpoint: Path | None) -> None:
        """Steps from `start` on; a checkpoint from the end of the stage is restored for the next one's sake."""
        stage, config = self.stages[index], self.config
        running = self._begin(index)
        if checkpoint:
            running.data.load_state_dict(checkpoints.restore(checkpoint, self.accelerator, self.averages))
        batches, end = iter(running.data), start + stage.steps
        while self.step < end:
            self._train_step(running, batches, self.step - start, stage)
            self.step += 1
            last = self.step == end
            if last or (config.evaluate_every and self.step % config.evaluate_every == 0):
                self._evaluate(running)
            if last or self.step % config.save_every == 0:
                self._save(running, index)
        for model in running.models.values():
            self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        self.accelerator.free_memory()

    def _begin(self, index: int) -> _Running:
        """Models and optimizers of a stage, wrapped anew: what is frozen changes between stages."""
        seed_all(self.config.seed, index)
        self.task.begin(index)
        parts = self.task.parts()
        check_can_hold(self.accelerator, len(parts))
        models, optimizers = {}, {}
        for name, part in parts.items():
            optimizer = make_optimizer(part.module, part.optimizer)
            models[name], optimizers[name] = prepare(self.accelerator, part.module, optimizer, part.optimizer)
            if part.averaged and self.config.average and name not in self.averages:
                self.averages[name] = Average(part.module, self.config.average)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        return _Running(parts, models, optimizers, self.averages, self.task.data(index, rank=rank, world=world))

    def _train_step(self, running: _Running, batches: Iterator[Any], step: int, stage: StageConfig) -> None:
        for model in running.models.values():
            model.train()
        for name, part in running.parts.items():
            for group in running.optimizers[name].param_groups:
                group["lr"] = part.optimizer.rate(step, stage.steps)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        for micro in range(self.config.accumulate):
            batch = _to(next(batches), self.accelerator.device)
            seed_all(self.config.seed, self.step, micro * world + rank)
            with self.accelerator.accumulate(*running.models.values()):
                for loss in self.task.step(running.models, batch, step):
                    self._guard(loss, batch)
                    self._descend(running, loss)
        for name, part in running.parts.items():
            if name in running.averages:
                running.averages[name].update(part.module)
        self.recorder.stepped(self.step, stage.name, _size(batch) * self.config.accumulate)

    def _descend(self, running: _Running, loss: Loss) -> None:
        """One step of one optimizer, or its share of an accumulated one."""
        model, optimizer = running.models[loss.part], running.optimizers[loss.part]
        self.recorder.add({f"{loss.part}/loss": loss.value, **loss.logs})
        self.accelerator.backward(loss.value, **({"inputs": _trained(model)} if len(running.models) > 1 else {}))
        clip = running.parts[loss.part].optimizer.clip_norm
        if self.accelerator.sync_gradients and clip:
            # asked for again: FSDP has put other tensors in their place
            norm = self.accelerator.clip_grad_norm_(_trained(model), clip)
            self.recorder.add({f"{loss.part}/gradient_norm": norm})
        optimizer.step()
        optimizer.zero_grad()

    def _guard(self, loss: Loss, batch: Any) -> None:
        """Stop every process when any of them met a loss that is no number."""
        finite = torch.isfinite(loss.value.detach()).all()
        everywhere = self.accelerator.reduce(finite.float(), "sum") if self.accelerator.num_processes > 1 else finite
        if everywhere == self.accelerator.num_processes:
            return
        path = self.config.out / f"bad-batch-{self.step}-{self.accelerator.process_index}.pt"
        torch.save(_to(batch, torch.device("cpu")), path)
        raise Diverged(
            f"step {self.step}: the loss of {loss.part} is {loss.value.item()}; the batch is in {path}. Lower the "
            "learning rate or resume with another seed; the last checkpoint is from before"
        )

    def _save(self, running: _Running, stage: int) -> None:
        state = {"step": self.step, "stage": stage, "metrics": self.metrics}
        self.recorder.flush()
        checkpoints.save(
            self.config.out, self.accelerator, state, self.averages, running.data.state_dict(), self.config.keep
        )

    def _evaluate(self, running: _Running) -> None:
        """Metrics, samples and the exported model, of averages where there are any."""
        seed_all(self.config.seed, self.step)
        main = self.accelerator.is_main_process
        with _averaged(running), torch.no_grad():
            for model in running.models.values():
                model.eval()
            weights = {name: self.accelerator.get_state_dict(model) for name, model in running.models.items()}
            samples = self.config.out / "samples" / f"step-{self.step:08d}"
            with gathered(running.models.values()):
                self.metrics = self.task.evaluate(running.models, samples if main else None)
            if main:
                self.task.export(weights, self.config.out / "model")
        self.recorder.measured(self.step, self.metrics)
        self.accelerator.wait_for_everyone()


@contextmanager
def _averaged(running: _Running) -> Iterator[None]:
    with ExitStack() as stack:
        for name, part in running.parts.items():
            if name in running.averages:
                stack.enter_context(running.averages[name].applied(part.module))
        yield


def _trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _to(value, device) for key, value in batch.items()}
    return batch


def _size(batch: Any) -> int:
    """Samples in a batch: the length of its first tensor."""
    values = batch.values() if isinstance(batch, dict) else [batch]
    return next((len(value) for value in values if isinstance(value, Tensor)), 1)
