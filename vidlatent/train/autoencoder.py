"""Training autoencoders: the task that the loop runs for configurations of kind "autoencoder"."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vidlatent.config import load_config
from vidlatent.errors import InputError
from vidlatent.metrics import PerceptualDistance
from vidlatent.train.autoencoder_config import AdversarialConfig, AutoencoderConfig, AutoencoderStage
from vidlatent.train.autoencoder_evaluation import Evaluation
from vidlatent.train.autoencoder_models import check_fits, export, make_model, make_teacher, select_trained
from vidlatent.train.clips import ClipBatches
from vidlatent.train.discriminating import Opponent, check_sees
from vidlatent.train.loop import train
from vidlatent.train.losses import adversarial as gan
from vidlatent.train.losses.discriminators import frozen, last_layer
from vidlatent.train.losses.reconstruction import psnr
from vidlatent.train.progress import Progress
from vidlatent.train.recompute import recompute_blocks
from vidlatent.train.task import Loss, Models, Part
from vidlatent.train.trainee import Outcome, Trainee, pixel_terms

AUTOENCODER, DISCRIMINATOR = "autoencoder", "discriminator"


def run(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    smoke: bool = False,
    show: Callable[[Progress], None] | None = None,
) -> dict[str, float]:
    """Train what a configuration file says; returns the last metrics. Raises `InputError` before the first step."""
    config = load_config(AutoencoderConfig, path, overrides, smoke=smoke)
    return train(AutoencoderTask(config), config, config.stages, show=show)


class AutoencoderTask:
    """An autoencoder, its discriminator, and what they are compared with. Everything is checked when it is made."""

    def __init__(self, config: AutoencoderConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.ae = make_model(config.model).train()
        self.teacher = make_teacher(config.teacher, self.ae) if config.teacher else None
        for index, stage in enumerate(config.stages):
            check_fits(self.ae, config.data_of(index))
            self.data(index, rank=0, world=1)
            select_trained(self.ae, stage.trained)
            self._check_losses(stage)
            if stage.adversarial:
                check_sees(stage.adversarial, config.data_of(index))
        if config.recompute:
            recompute_blocks(self.ae)
        self.perceptual = PerceptualDistance(config.perceptual_net, config.perceptual_weights)
        self.features = _frozen_network(config.alignment.factory) if config.alignment else None
        self.evaluation = Evaluation(config, self.ae, config.data_of(len(config.stages) - 1))
        self.trainee = Trainee(self.ae, alignment_width=config.alignment.width if config.alignment else 1)
        self.stage = config.stages[0]
        self.opponent: Opponent | None = None

    def _check_losses(self, stage: AutoencoderStage) -> None:
        weights = stage.losses
        if (weights.teacher_latents or weights.teacher_decoding) and self.config.teacher is None:
            raise InputError(f"stage {stage.name}: losses of a teacher are asked for, and there is no 'teacher'")
        if weights.alignment and self.config.alignment is None:
            raise InputError(f"stage {stage.name}: alignment is asked for, and 'alignment' does not say to what")
        if weights.kl and not self.ae.has_logvar:
            raise InputError(
                f"stage {stage.name}: kl={weights.kl} needs a 'kl' bottleneck: the latents have no variance"
            )

    def begin(self, stage: int) -> None:
        config = self.stage = self.config.stages[stage]
        self.trainee.begin(config.losses)
        select_trained(self.ae, config.trained)
        if config.adversarial is None:
            self.opponent = None
        elif self.opponent is None or config.adversarial.refresh or self.opponent.config != config.adversarial:
            self.opponent = Opponent(config.adversarial)

    def parts(self) -> dict[str, Part]:
        optimizer = self.stage.optimizer or self.config.optimizer
        parts = {AUTOENCODER: Part(self.trainee, optimizer, averaged=True)}
        if self.opponent and self.stage.adversarial:
            parts[DISCRIMINATOR] = Part(self.opponent, self.stage.adversarial.optimizer)
        return parts

    def data(self, stage: int, *, rank: int, world: int) -> ClipBatches:
        return ClipBatches(self.config.data_of(stage), seed=self.config.seed, stage=stage, rank=rank, world=world)

    def step(self, models: Models, batch: Mapping[str, Tensor], step: int) -> Iterator[Loss]:
        video, adversarial = batch["video"], self.stage.adversarial
        outcome: Outcome = models[AUTOENCODER](video, *self._compared_with(video))
        terms, pixels = self._terms(outcome, video)
        weights = self.stage.losses
        total = pixels + sum(
            (getattr(weights, name) * term for name, term in outcome.terms.items() if hasattr(weights, name)),
            torch.zeros((), device=video.device),
        )
        duel = adversarial is not None and step >= adversarial.start
        if duel and self.opponent and adversarial:
            term, weight = self._provoke(adversarial, self.opponent, outcome.video, pixels)
            total = total + adversarial.weight * weight * term
            terms |= {"adversarial": term, "adaptive_weight": weight}
        terms["psnr"] = psnr(outcome.video.detach(), video)
        yield Loss(AUTOENCODER, total, {name: term.detach() for name, term in terms.items()})
        if duel and adversarial:
            yield from self._judge(models[DISCRIMINATOR], adversarial, video, outcome.video.detach())

    @torch.no_grad()
    def _compared_with(self, video: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Latents of the teacher and features of the network that latents are aligned with."""
        latents = self.teacher.to(video.device).encode(video).mode() if self.teacher else None
        features = self.features.to(video.device)(video) if self.features and self.stage.losses.alignment else None
        return latents, features

    def _terms(self, outcome: Outcome, video: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Everything to be logged, and the weighted sum of what compares pictures."""
        weights = self.stage.losses
        terms = pixel_terms(outcome.video, video, weights)
        if weights.perceptual:
            distance = self.perceptual.to(video.device)(outcome.video.float(), video)
            terms[self.perceptual.name] = distance.mean()
        total = torch.zeros((), device=video.device)
        for name, term in terms.items():
            total = total + (weights.perceptual if name == self.perceptual.name else getattr(weights, name)) * term
        if weights.learned_variance:
            total = total / outcome.logvar.exp() + outcome.logvar
        return terms | outcome.terms, total

    def _provoke(
        self, config: AdversarialConfig, opponent: Opponent, got: Tensor, pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The autoencoder's adversarial term, and the weight that balances it with the pictures'."""
        term = gan.generator_loss(config.generator_loss or config.loss, frozen(opponent.network, got))
        layer = last_layer(self.ae.decoder) if config.adaptive and torch.is_grad_enabled() else None
        weight = torch.ones((), device=got.device) if layer is None else gan.adaptive_weight(pixels, term, layer)
        return term, weight

    def _judge(self, model: nn.Module, config: AdversarialConfig, real: Tensor, fake: Tensor) -> Iterator[Loss]:
        """The discriminator's own losses."""
        terms = model(real, fake)
        total = terms["discriminator"] + config.lecam * terms["lecam"] + config.r1 * terms["r1"]
        yield Loss(DISCRIMINATOR, total, {name: value.detach() for name, value in terms.items()})

    def evaluate(self, models: Models, folder: Path | None) -> dict[str, float]:
        del models  # its weights are those of the autoencoder here, averaged
        return self.evaluation.run(folder)

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        own = {name[3:]: tensor for name, tensor in weights[AUTOENCODER].items() if name.startswith("ae.")}
        export(self.ae, own, path, self.evaluation.statistics)


def _frozen_network(factory: str) -> nn.Module:
    module, _, name = factory.partition(":")
    try:
        network = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"alignment.factory={factory!r}: expected module:function ({error})") from error
    return network.eval().requires_grad_(False)
