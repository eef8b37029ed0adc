"""The autoencoder as it is trained: one forward pass from a clip to everything that its losses are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder
from vidlatent.nn import Chain
from vidlatent.quantize import Bottled, Bottleneck, Gaussian, Identity
from vidlatent.train.autoencoder_config import LossWeights
from vidlatent.train.losses import reconstruction, regularisers


@dataclass
class Outcome:
    """A reconstruction, latents and codes, the learned log-variance, and the terms that are made on the way."""

    video: Tensor
    latents: Tensor
    logvar: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    codes: tuple[Tensor, ...] = ()


class LogVariance(nn.Module):
    """One learned number, 0 at first; a vector, since sharded parameters have a dimension to cut."""

    def __init__(self) -> None:
        super().__init__()
        self.logvar = nn.Parameter(torch.zeros(1))


class Trainee(nn.Module):
    """An autoencoder with what only training needs: noise in its bottleneck, masks, a learned variance.

    One forward pass does everything, because wrappers for several processes count forward passes.
    """

    def __init__(self, ae: Autoencoder, *, alignment_width: int = 1) -> None:
        super().__init__()
        self.ae, self.weights = ae, LossWeights()
        self._bottleneck = (ae.bottleneck or _implied(ae),)  # a tuple: its place is in the encoder
        self.variance = LogVariance()
        self.mask = regularisers.LatentMask(ae.latent_spec.channels)
        self.align = regularisers.Alignment(ae.latent_spec.channels, alignment_width)

    def begin(self, weights: LossWeights) -> None:
        """Take the losses of a stage, and train of what only losses need no more than they use."""
        self.weights = weights
        self.variance.requires_grad_(weights.learned_variance)
        self.mask.requires_grad_(weights.masking)
        self.align.requires_grad_(weights.alignment > 0)

    def bottle(self, video: Tensor) -> Bottled:
        """The bottleneck's answer to a clip, noise and all, in full precision: codes hang on small differences."""
        encoder = self.ae.encoder
        assert isinstance(encoder, Chain)
        features = encoder[:-1](video) if self.ae.bottleneck else encoder(video)
        with torch.autocast(video.device.type, enabled=False):
            return self._bottleneck[0].bottle(features.float())

    def forward(
        self,
        video: Tensor,
        teacher_latents: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Outcome:
        """`teacher_latents` and `features` are what losses with a teacher and an alignment compare with."""
        weights, bottled = self.weights, self.bottle(video)
        latents, terms = bottled.latents, dict(bottled.losses)
        if "kl" in terms:
            terms["kl"] = terms["kl"] / video[0].numel()
        seen = self.mask(latents) if weights.masking else latents
        got = self._decode(seen, video)
        if weights.scale_equivariance or weights.turn_equivariance:
            terms |= self._equivariance(latents, video)
        if weights.local_correlation:
            terms["local_correlation"] = regularisers.local_correlation(latents)
        if weights.alignment and features is not None:
            terms["alignment"] = self.align(latents, features)
        if teacher_latents is not None:
            terms |= self._teacher_terms(latents, teacher_latents, video)
        return Outcome(got.float(), latents, self.variance.logvar.sum(), terms, bottled.codes)

    def _decode(self, latents: Tensor, like: Tensor) -> Tensor:
        t, h, w = like.shape[2:]
        return self.ae.decoder(latents)[:, :, :t, :h, :w]

    def _equivariance(self, latents: Tensor, video: Tensor) -> dict[str, Tensor]:
        terms, (_, rows, columns) = {}, self.ae.latent_spec.stride
        if self.weights.scale_equivariance:
            size = regularisers.random_scale(*latents.shape[3:])
            got = self.ae.decoder(regularisers.scaled(latents, size))
            want = regularisers.scaled(video, (size[0] * rows, size[1] * columns))
            terms["scale_equivariance"] = reconstruction.l1(got[:, :, : want.shape[2]], want)
        if self.weights.turn_equivariance:
            quarter, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
            want = regularisers.turned(video, quarter, flip)
            terms["turn_equivariance"] = reconstruction.l1(
                self._decode(regularisers.turned(latents, quarter, flip), want), want
            )
        return terms

    def _teacher_terms(self, latents: Tensor, teacher_latents: Tensor, video: Tensor) -> dict[str, Tensor]:
        """Latents compared as a diffusion model sees them; the teacher's decoded by the student."""
        spec, terms = self.ae.latent_spec, {}
        if self.weights.teacher_latents:
            both = (spec.normalize(z) for z in (latents, teacher_latents))
            terms["teacher_latents"] = reconstruction.mse(*both)
        if self.weights.teacher_decoding:
            terms["teacher_decoding"] = reconstruction.l1(self._decode(teacher_latents, video), video)
        return terms


def _implied(ae: Autoencoder) -> Bottleneck:
    """The bottleneck of a family that does not name one."""
    channels = ae.latent_spec.channels
    return Gaussian(channels) if ae.has_logvar else Identity(channels)


def pixel_terms(got: Tensor, want: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """The terms that compare values; their names are those of the weights."""
    functions = {
        "l1": reconstruction.l1,
        "charbonnier": reconstruction.charbonnier,
        "mse": reconstruction.mse,
        "wavelet": reconstruction.wavelet,
        "temporal": reconstruction.temporal,
    }
    return {name: function(got, want) for name, function in functions.items() if getattr(weights, name)}
