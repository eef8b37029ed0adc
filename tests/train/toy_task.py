"""A task that takes milliseconds: a line is fitted, and an opponent learns to tell how far off it is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidlatent.train.settings import LoopConfig, OptimizerConfig, StageConfig
from vidlatent.train.task import Loss, Part


class Numbers:
    """Batches by their number alone."""

    def __init__(self, rank: int, world: int) -> None:
        self.next, self.rank, self.world = 0, rank, world

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            rng = torch.Generator().manual_seed(self.next * self.world + self.rank)
            self.next += 1
            yield {"x": torch.randn(64, 3, generator=rng)}

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class Line:
    """Two parts with optimizers of their own; noise of the step's own seed is part of the loss."""

    def __init__(self, bad_step: int | None = None) -> None:
        torch.manual_seed(0)
        self.line, self.opponent, self.bad_step = nn.Linear(3, 1), nn.Linear(1, 1), bad_step
        self.begun: list[int] = []

    def begin(self, stage: int) -> None:
        self.begun.append(stage)
        self.line.bias.requires_grad_(stage == 0)

    def parts(self) -> dict[str, Part]:
        settings = OptimizerConfig(learning_rate=0.3, warmup_steps=2, schedule="cosine")
        return {"line": Part(self.line, settings, averaged=True), "opponent": Part(self.opponent, settings)}

    def data(self, stage: int, *, rank: int, world: int) -> Numbers:
        return Numbers(rank, world)

    def step(self, models: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int) -> Iterator[Loss]:
        x = batch["x"] + 0.01 * torch.randn_like(batch["x"])
        error = models["line"](x) - x.sum(1, keepdim=True) - 1
        value = error.square().mean() + 0.01 * self.opponent(error).square().mean()
        yield Loss("line", value * (float("nan") if step == self.bad_step else 1), {"line/error": error.abs().mean()})
        guess = models["opponent"](error.detach())
        yield Loss("opponent", (guess - error.detach()).square().mean())

    def evaluate(self, models: Mapping[str, nn.Module], folder: Path | None) -> dict[str, float]:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        return {"weight": float(self.line.weight.sum())}

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        save_file(dict(weights["line"]), path.with_suffix(".safetensors"))


def settings(out: Path, **changes: Any) -> LoopConfig:
    values = {"kind": "toy", "out": out, "trackers": (), "log_every": 1, "save_every": 3, **changes}
    return LoopConfig.model_validate(values)


STAGES = (StageConfig(name="first", steps=7), StageConfig(name="second", steps=5))
