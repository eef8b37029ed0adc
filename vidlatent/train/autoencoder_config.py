"""What a configuration file of kind "autoencoder" says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from vidlatent.config import RunConfig, explain
from vidlatent.train.clips import ClipDataConfig
from vidlatent.train.settings import LoopConfig, OptimizerConfig, StageConfig


class ModelConfig(RunConfig):
    """The model to train: a new one of a `family` with `config`, a `preset` with overrides, or one to `load`."""

    family: str | None = None
    preset: str | None = None
    load: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)


class LossWeights(RunConfig):
    """Weights of the terms; what is 0 is not computed.

    Terms of pixels are means over values. "kl" is nats per video value, as where it and the reconstruction are both
    sums over a clip (latent diffusion); where code sums otherwise, a recipe converts its weight. `learned_variance`
    divides terms of pixels by a learned variance and adds its logarithm. The remaining terms are those of the
    bottleneck, of `losses.regularisers` and of a `teacher`.
    """

    l1: float = Field(default=1.0, ge=0)
    charbonnier: float = Field(default=0.0, ge=0)
    mse: float = Field(default=0.0, ge=0)
    wavelet: float = Field(default=0.0, ge=0)
    temporal: float = Field(default=0.0, ge=0)
    perceptual: float = Field(default=0.0, ge=0)
    learned_variance: bool = False
    kl: float = Field(default=0.0, ge=0)
    commitment: float = Field(default=0.0, ge=0)
    codebook: float = Field(default=0.0, ge=0)
    entropy: float = Field(default=0.0, ge=0)
    scale_equivariance: float = Field(default=0.0, ge=0)
    turn_equivariance: float = Field(default=0.0, ge=0)
    masking: bool = False
    local_correlation: float = Field(default=0.0, ge=0)
    alignment: float = Field(default=0.0, ge=0)
    teacher_latents: float = Field(default=0.0, ge=0)
    teacher_decoding: float = Field(default=0.0, ge=0)


class AdversarialConfig(RunConfig):
    """A discriminator from step `start` of its stage on; `refresh` begins the stage with a new one."""

    dims: Literal["2d", "3d"] = "2d"
    loss: Literal["hinge", "non-saturating"] = "hinge"
    generator_loss: Literal["hinge", "non-saturating"] | None = None
    weight: float = Field(default=0.5, gt=0)
    adaptive: bool = True
    start: int = Field(default=0, ge=0)
    lecam: float = Field(default=0.0, ge=0)
    r1: float = Field(default=0.0, ge=0)
    refresh: bool = True
    width: int = Field(default=64, ge=8)
    depth: int = Field(default=3, ge=1)
    optimizer: OptimizerConfig = OptimizerConfig()


class AutoencoderStage(StageConfig):
    """A stage: its data (over the run's), its losses, its discriminator, and what of the model is trained.

    `trained` are beginnings of parameter names ("decoder", "decoder.conv_out"); by default all are.
    """

    data: dict[str, Any] = Field(default_factory=dict)
    losses: LossWeights = LossWeights()
    adversarial: AdversarialConfig | None = None
    trained: tuple[str, ...] = ("",)
    optimizer: OptimizerConfig | None = None


class EvaluationConfig(RunConfig):
    """The first frames of the first `clips` videos of `folder`, by default the one trained on, are measured."""

    folder: Path | None = None
    clips: int = Field(default=4, ge=1)
    frames: int | None = Field(default=None, ge=1)
    size: int | None = Field(default=None, ge=1)


class TeacherConfig(RunConfig):
    """A frozen autoencoder in whose latent space the model shall live: whatever `vidlatent.load` takes."""

    load: str | None = None
    preset: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)


class AlignmentConfig(RunConfig):
    """A frozen network of the user's: "module:function" that returns an `nn.Module`, video to (B, F, t, h, w)."""

    factory: str
    width: int = Field(ge=1)


class AutoencoderConfig(LoopConfig):
    """A run that trains an autoencoder."""

    kind: Literal["autoencoder"]
    model: ModelConfig
    data: ClipDataConfig
    stages: tuple[AutoencoderStage, ...] = Field(min_length=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    perceptual_net: Literal["vgg", "alex"] = "vgg"
    perceptual_weights: Path | None = None
    teacher: TeacherConfig | None = None
    alignment: AlignmentConfig | None = None
    recompute: bool = False

    @model_validator(mode="after")
    def _check_data(self) -> AutoencoderConfig:
        for index in range(len(self.stages)):
            self.data_of(index)
        return self

    def data_of(self, stage: int) -> ClipDataConfig:
        """The run's data with the stage's own laid over it."""
        own = self.stages[stage].data
        try:
            return ClipDataConfig.model_validate(self.data.model_dump() | own)
        except ValidationError as error:
            raise ValueError(f"stages.{stage}.data: {explain(error, ClipDataConfig)}") from error
