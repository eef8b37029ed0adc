"""The configuration of a diffusion run: what is trained, on which latents, by which method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vidlatent.config import RunConfig
from vidlatent.diffusion.dit import VideoDiTConfig
from vidlatent.train.settings import LoopConfig, OptimizerConfig, StageConfig


class WorldData(RunConfig):
    """Clips of a procedural world, encoded once and read in windows.

    `clips` of `num_latents` latent frames each are encoded by `autoencoder` before the first step and kept in memory;
    with `cache` also in that file, which other runs can share. The first `skip` latents of each are left out: those of
    a causal autoencoder's first frames have statistics of their own.
    """

    source: Literal["world"]
    world: str = "bounce"
    options: dict[str, Any] = Field(default_factory=dict)
    autoencoder: str = "vidlatent-tiny"
    clips: int = Field(default=2048, ge=1)
    validation_clips: int = Field(default=128, ge=1)
    num_latents: int = Field(default=24, ge=1)
    skip: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)
    cache: Path | None = None
    fps: float = Field(default=15.0, gt=0)


class LatentData(RunConfig):
    """A folder that `vidlatent encode-dataset` wrote, and another one for validation.

    `autoencoder` is what decodes samples; None takes the one that the dataset names.
    """

    source: Literal["latents"]
    path: Path
    validation: Path | None = None
    autoencoder: str | None = None


Mode = Literal["full", "forcing", "teacher"]


def _forcing() -> dict[Mode, float]:
    return {"forcing": 1.0}


class FlowMethod(RunConfig):
    """Training from data. `modes` says how often a step is of each kind (any positive weights):

    full      one noise level a clip, every frame sees every frame
    forcing   a noise level for each block, under the model's mask (diffusion forcing, arXiv:2407.01392)
    teacher   noisy blocks see clean ones before them (teacher forcing)

    Context is noised to levels drawn from [0, `context_noise`]: in teacher forcing that of a clip to one level, in
    forcing each frame that is context, with probability `clean`, to its own. At level 0 nothing is learned from it.
    In forcing, a share `faded` of samples has a past that fades towards the clip's mean over time, as that of a
    rollout does which loses what moves: the frames after it are learned all the same. See `diffusion_past`.
    """

    name: Literal["flow"] = "flow"
    modes: dict[Mode, float] = Field(default_factory=_forcing)
    clean: float = Field(default=0.0, ge=0, lt=1)
    context_noise: float = Field(default=0.0, ge=0, le=1)
    faded: float = Field(default=0.0, ge=0, le=1)
    shift: float = Field(default=1.0, gt=0)
    uniform_share: float = Field(default=0.5, ge=0, le=1)
    drop_context: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _some_mode(self) -> FlowMethod:
        if not self.modes or min(self.modes.values()) < 0 or not sum(self.modes.values()):
            raise ValueError(f"modes={self.modes}: at least one of full, forcing, teacher with a positive weight")
        return self


class _FewStep(RunConfig):
    """What the ways to few steps share: the student starts as `teacher`, and is sampled at `levels` from 1 to 0."""

    teacher: Path
    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    shift: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _climbing(self) -> _FewStep:
        ordered = all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not ordered or (self.levels[0], self.levels[-1]) != (0, 1):
            raise ValueError(f"levels={self.levels}: noise levels climb from 0 to 1")
        return self


class ConsistencyMethod(_FewStep):
    """Causal consistency distillation on a grid of `grid` times; see `distill_consistency`."""

    name: Literal["consistency"]
    grid: int = Field(default=32, ge=2)


class DistributionMethod(_FewStep):
    """Distribution matching on the student's own rollouts; see `distill_dmd`. It may start as `student` instead."""

    name: Literal["dmd"]
    student: Path | None = None
    critic: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.0, 0.999))
    critic_updates: int = Field(default=5, ge=1)


class AdversarialMethod(_FewStep):
    """Latent adversarial diffusion distillation; see `distill_ladd`. It may start as `student` instead."""

    name: Literal["ladd"]
    student: Path | None = None
    discriminator: OptimizerConfig = OptimizerConfig(learning_rate=2e-4, betas=(0.0, 0.99))
    gradient_penalty: float = Field(default=1e-2, ge=0)
    noise_mean: float = 0.0


Data = Annotated[WorldData | LatentData, Field(discriminator="source")]
Method = Annotated[FlowMethod | ConsistencyMethod | DistributionMethod | AdversarialMethod, Field(discriminator="name")]


class DiffusionConfig(LoopConfig):
    """A diffusion run. `frames` latent frames make a sample, `batch` samples a step on each process.

    Channels are scaled to a deviation of 1, times their effect on pixels to the power of `balance`.
    `apart` is how many more frames of a clip may lie between the model's sinks and the other frames of a sample.
    `model` is the architecture of a run from data; distillation takes its teacher's. `init` starts from the weights of
    a model file.
    """

    kind: Literal["diffusion"] = "diffusion"
    model: VideoDiTConfig | None = None
    init: Path | None = None
    data: Data
    method: Method = FlowMethod()
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.95), weight_decay=0.01)
    frames: int = Field(default=16, ge=1)
    apart: int = Field(default=0, ge=0)
    balance: float = Field(default=0.0, ge=0, le=1)
    batch: int = Field(default=16, ge=1)
    sample_frames: int = Field(default=0, ge=0)
    gradient_checkpointing: bool = False
    stages: tuple[StageConfig, ...]

    @model_validator(mode="after")
    def _fits(self) -> DiffusionConfig:
        if self.method.name == "flow" and self.model is None:
            raise ValueError("model: say the architecture, as in configs/diffusion/tiny.yaml")
        if self.model is not None and self.frames % self.model.block:
            raise ValueError(f"frames={self.frames} must be a multiple of model.block={self.model.block}")
        if self.apart and self.model is not None and not self.model.sinks:
            raise ValueError(f"apart={self.apart} is a distance from sinks: model.sinks says how many there are")
        if isinstance(self.data, WorldData) and self.window > self.data.num_latents:
            asked = f"frames={self.frames}" + (f" and apart={self.apart}" if self.apart else "")
            raise ValueError(f"{asked} is more than data.num_latents={self.data.num_latents}")
        return self

    @property
    def window(self) -> int:
        """Latent frames that are read for a sample."""
        return self.frames + self.apart
