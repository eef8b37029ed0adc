"""Autoencoders of diffusers whose calls differ from those of most: images, runs of frames, noise levels."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderOutput, EncoderOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from vidlatent.autoencoders.base import Autoencoder, Policy
from vidlatent.autoencoders.ltx.timestep import NoiseInjection, Timestep
from vidlatent.autoencoders.posterior import Posterior
from vidlatent.errors import InputError
from vidlatent.integrations.diffusers.drop_in import DropIn


class OfFrames(DropIn):
    """An image autoencoder: a batch (B, C, H, W) is a clip of B frames, each by itself."""

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:  # noqa: ARG002
        """The images (B, 3, H, W) of latents (B, C, h, w)."""
        return self._decoded(z, return_dict)

    def _posterior(self, x: Tensor) -> Posterior:
        posterior = super()._posterior(_as_clip(x))
        logvar = None if posterior.logvar is None else _as_batch(posterior.logvar)
        return Posterior(_as_batch(posterior.mean), logvar)

    def _video(self, z: Tensor) -> Tensor:
        return _as_batch(super()._video(_as_clip(z)))


class OfFramesWithoutDistribution(OfFrames):
    """DC-AE: images to latents, with no distribution around them."""

    def _encoded(self, x: Tensor, return_dict: bool) -> Any:
        latent = self._posterior(x).mean
        return EncoderOutput(latent=latent) if return_dict else (latent,)


class OfRuns(OfFrames):
    """Stable Video Diffusion: frames are encoded by themselves, and decoded in runs of `num_frames`."""

    @apply_forward_hook
    def decode(self, z: Tensor, num_frames: int, return_dict: bool = True) -> Any:
        """The frames (B * num_frames, 3, H, W) of latents (B * num_frames, C, h, w)."""
        if len(z) % num_frames:
            raise InputError(f"{len(z)} latents are no runs of num_frames={num_frames}")
        video = torch.cat([self._video(run) for run in z.split(num_frames)])
        return DecoderOutput(sample=video) if return_dict else (video,)


class OfAllegro(DropIn):
    """Allegro: videos come with their frames before their channels."""

    def _video(self, z: Tensor) -> Tensor:
        return super()._video(z).transpose(1, 2)


class OfLTX(DropIn):
    """LTX: the decoder is told the noise level of its latents, and adds noise drawn from torch's own generator."""

    @apply_forward_hook
    def decode(self, z: Tensor, temb: Tensor | None = None, return_dict: bool = True) -> Any:
        """The video of latents of timestep `temb` (B,), which models without timesteps pass over."""
        return self._decoded_at(z, temb, return_dict)

    def _decoded_at(self, z: Tensor, temb: Tensor | None, return_dict: bool) -> Any:
        self._draw_noise()
        steps = [m for m in self.ae.decoder.modules() if isinstance(m, Timestep)]
        if temb is None or not steps:
            return self._decoded(z, return_dict)
        videos = []
        for latents, value in zip(z, temb.reshape(-1).expand(len(z)).tolist(), strict=True):
            steps[0].value = value
            videos.append(self._video(latents[None]))
        video = torch.cat(videos)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def _draw_noise(self) -> None:
        layers = [m for m in self.ae.decoder.modules() if isinstance(m, NoiseInjection)]
        seed = int(torch.randint(1 << 31, ())) if layers else None
        for layer in layers:
            layer.seed = seed


class OfLTX2(OfLTX):
    """LTX-2: calls may say whether time is causal, which its configuration says as well."""

    @apply_forward_hook
    def encode(self, x: Tensor, causal: bool | None = None, return_dict: bool = True) -> Any:
        self._check_causal(causal, expected=True)
        return self._encoded(x, return_dict)

    @apply_forward_hook
    def decode(
        self, z: Tensor, temb: Tensor | None = None, causal: bool | None = None, return_dict: bool = True
    ) -> Any:
        self._check_causal(causal, expected=self.ae.config.decoder_causal)  # type: ignore[attr-defined]
        return self._decoded_at(z, temb, return_dict)

    def _check_causal(self, causal: bool | None, *, expected: bool) -> None:
        if causal not in (None, expected):
            raise InputError(f"causal={causal}: this model has {expected}; leave the argument away")


_KINDS: dict[str, type[DropIn]] = {
    "image-kl": OfFrames,
    "dc-ae": OfFramesWithoutDistribution,
    "svd": OfRuns,
    "allegro": OfAllegro,
    "ltx-video": OfLTX,
    "ltx-2": OfLTX2,
}
"""Families whose calls differ from those of most."""


def make_drop_in(vae: nn.Module, ae: Autoencoder, memory: int | str | None, policy: Policy) -> nn.Module:
    """What replaces `vae`: it has everything plain that `vae` has, and none of its modules."""
    kind = _drop_in_class(type(vae), _KINDS.get(ae.family, DropIn))
    drop_in = kind.__new__(kind)
    nn.Module.__init__(drop_in)
    inherent = vars(drop_in).keys()
    vars(drop_in).update({name: value for name, value in vars(vae).items() if name not in inherent})
    for name, buffer in vae.named_buffers(recurse=False):  # statistics of the latents
        drop_in.register_buffer(name, buffer)
    drop_in.ae, drop_in.memory, drop_in.policy = ae, memory, policy
    return drop_in.train(vae.training)


_CLASSES: dict[tuple[type, type], Any] = {}


def _drop_in_class(kind: type, face: type[DropIn]) -> Any:
    """A class of the same name and place as `kind`, by which pipelines save it."""
    if (kind, face) not in _CLASSES:
        facts = {"__module__": kind.__module__, "__doc__": face.__doc__}
        _CLASSES[kind, face] = type(kind.__name__, (face, kind), facts)
    return _CLASSES[kind, face]


def _as_clip(batch: Tensor) -> Tensor:
    return batch.transpose(0, 1)[None]


def _as_batch(clip: Tensor) -> Tensor:
    return clip[0].transpose(0, 1)
