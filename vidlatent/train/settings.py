"""The part of a run's configuration that every kind of training shares."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field

from vidlatent.config import RunConfig


class OptimizerConfig(RunConfig):
    """AdamW, or Adam where `weight_decay` is 0; the learning rate by step of a stage.

    "muon" moves the weights of linear layers and convolutions by Muon instead, which takes the same learning rates.
    Warm-up is linear over `warmup_steps`; "cosine" then falls to `final_share` of the learning rate at the stage's end.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    final_share: float = Field(default=0.0, ge=0, le=1)
    clip_norm: float | None = Field(default=1.0, gt=0)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps`."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.schedule == "constant":
            return rate
        share = 0.5 * (1 + math.cos(math.pi * step / steps))
        return rate * (self.final_share + (1 - self.final_share) * share)


class AverageConfig(RunConfig):
    """An average over the weights of all steps, which is what is evaluated and exported.

    "constant" forgets by `decay` a step, less during the first steps; "power" weights step t by t^gamma, where
    `length` is the profile's standard deviation relative to the run (Karras et al., arXiv:2312.02696, eq. 1 and 126).
    """

    profile: Literal["constant", "power"] = "constant"
    decay: float = Field(default=0.999, ge=0, lt=1)
    length: float = Field(default=0.05, gt=0, lt=0.28)


class StageConfig(RunConfig):
    """A stretch of training with its own data, losses and frozen parts; optimizers start anew."""

    name: str
    steps: int = Field(gt=0)


class LoopConfig(RunConfig):
    """Where and how a run is trained; `kind` says what.

    Everything about a run lies in `out`: checkpoints of which the last `keep` stay, `log.jsonl`, samples, the exported
    model. The batch of one optimizer step is that of `accumulate` batches on each process. Without `evaluate_every`
    there are measurements at the ends of stages only.
    """

    kind: str
    out: Path
    seed: int = Field(default=0, ge=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: int = Field(default=1, ge=1)
    average: AverageConfig | None = AverageConfig()
    log_every: int = Field(default=10, ge=1)
    save_every: int = Field(default=500, ge=1)
    evaluate_every: int | None = Field(default=None, ge=1)
    keep: int = Field(default=2, ge=1)
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
