"""What stands in for an autoencoder of diffusers: its class, configuration and methods, around our autoencoder.

It derives from the class it replaces, so that a pipeline that asks for the class, saves itself, or is made into another
kind of pipeline finds what it expects.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import (
    DecoderOutput,
    DiagonalGaussianDistribution,
    IdentityDistribution,
)
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from vidlatent.autoencoders.base import Autoencoder, Policy
from vidlatent.autoencoders.diffusers_format import save_pretrained
from vidlatent.autoencoders.posterior import Posterior
from vidlatent.errors import BudgetTooSmall

_log = logging.getLogger(__name__)


class DropIn:
    """What all of them share; `memory` and `policy` may be changed between two calls."""

    ae: Autoencoder
    memory: int | str | None
    policy: Policy

    @apply_forward_hook
    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """The distribution of the latents of a video (B, 3, T, H, W), as the replaced class returns it."""
        return self._encoded(x, return_dict)

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True) -> Any:
        """The video (B, 3, T, H, W) of latents (B, C, t, h, w), as the replaced class returns it."""
        return self._decoded(z, return_dict)

    def _encoded(self, x: Tensor, return_dict: bool) -> Any:
        posterior = self._posterior(x)
        if posterior.logvar is None:
            latent: Any = IdentityDistribution(posterior.mean)
        else:
            latent = DiagonalGaussianDistribution(torch.cat([posterior.mean, posterior.logvar], 1))
        return AutoencoderKLOutput(latent_dist=latent) if return_dict else (latent,)

    def _decoded(self, z: Tensor, return_dict: bool) -> Any:
        video = self._video(z)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def _posterior(self, x: Tensor) -> Posterior:
        try:
            return self.ae.encode(x, memory=self.memory, policy=self.policy)
        except BudgetTooSmall as error:
            return self.ae.encode(x, memory=self._exceeding(error), policy=self.policy)

    def _video(self, z: Tensor) -> Tensor:
        try:
            return self.ae.decode(z, memory=self.memory, policy=self.policy)
        except BudgetTooSmall as error:
            return self.ae.decode(z, memory=self._exceeding(error), policy=self.policy)

    def _exceeding(self, error: BudgetTooSmall) -> int:
        """The smallest budget that does: an error here would throw away all that the pipeline has done so far."""
        _log.warning("memory=%r is too small, going on with %d bytes: %s", self.memory, error.smallest_bytes, error)
        return error.smallest_bytes

    def enable_tiling(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Accepted and ignored: `memory` bounds memory, and the answer stays that of the whole clip."""
        _note_ignored("enable_tiling")

    def enable_slicing(self) -> None:
        """Accepted and ignored, as `enable_tiling`."""
        _note_ignored("enable_slicing")

    def disable_tiling(self) -> None:
        """Accepted: there are no tiles."""

    def disable_slicing(self) -> None:
        """Accepted: there are no slices."""

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:  # noqa: ARG002
        """Write config.json and weights in diffusers' format, which `from_pretrained` of the replaced class loads."""
        save_pretrained(self.ae, save_directory)

    @property
    def encoder(self) -> nn.Module:
        """Our encoder."""
        return self.ae.encoder

    @property
    def decoder(self) -> nn.Module:
        """Our decoder."""
        return self.ae.decoder

    @property
    def quant_conv(self) -> nn.Module:
        """The pointwise convolution behind the encoder, whose weights pipelines look at."""
        return self.ae.encoder.quant_conv  # type: ignore[return-value]

    @property
    def post_quant_conv(self) -> nn.Module:
        """The pointwise convolution before the decoder."""
        return self.ae.decoder.post_quant_conv  # type: ignore[return-value]


def _note_ignored(name: str) -> None:
    _log.info("%s() is ignored: memory= bounds what this autoencoder takes, without seams", name)
