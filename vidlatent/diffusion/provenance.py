"""What a model was trained on, as its file records it: whose latents, how they were normalised, how to sample it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from torch import Tensor

from vidlatent.config import RunConfig
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.errors import ModelError


class Provenance(RunConfig):
    """Read from `dit.metadata` by `of`.

    autoencoder, fingerprint   whose latents these are.           mean, std   (C,): it is fed (latents - mean) / std.
    size, fps                  of the frames it was trained on.   frames      latent frames in a training sample.
    steps, levels              how few-step models are sampled: so many passes, at these noise levels from 0 to 1.
    shift, context_noise       how the levels of other models are moved, and how noisy finished frames are shown to it.
    world                      the procedural world it was trained on, if any.
    """

    autoencoder: str
    fingerprint: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    fps: float = 24.0
    frames: int
    steps: int | None = None
    levels: tuple[float, ...] | None = None
    shift: float = 1.0
    context_noise: float = 0.0
    world: dict[str, Any] | None = None

    @classmethod
    def of(cls, dit: VideoDiT, *, path: object = "the model") -> Provenance:
        """What a loaded model records. Raises `ModelError` if it says nothing about its latents."""
        try:
            return cls.model_validate(dit.metadata)
        except ValidationError as error:
            missing = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
            raise ModelError(
                f"{path}: does not record whose latents it was trained on ({missing}): "
                "write it with save_model(..., metadata=Provenance(...).model_dump())"
            ) from error

    def check(self, fingerprint: str, *, name: str) -> None:
        """Refuse another autoencoder than that of the training latents. Raises `ModelError` with both fingerprints."""
        if fingerprint != self.fingerprint:
            raise ModelError(
                f"this diffusion model was trained on latents of {self.autoencoder}, fingerprint {self.fingerprint}; "
                f"{name} has {fingerprint}: its latents mean something else. Take the autoencoder it was trained with"
            )

    def normalize(self, latents: Tensor) -> Tensor:
        """Raw latents (B, C, t, h, w) as the model is fed them."""
        return (latents - self._per_channel(self.mean, latents)) / self._per_channel(self.std, latents)

    def denormalize(self, latents: Tensor) -> Tensor:
        """What the model generates (B, C, t, h, w) as the autoencoder decodes it."""
        return latents * self._per_channel(self.std, latents) + self._per_channel(self.mean, latents)

    @staticmethod
    def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
        return like.new_tensor(values).view(1, -1, 1, 1, 1)
