"""The one autoencoder class: two sweepable trees, a latent grid between them, and a memory that is a parameter."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vidlatent.autoencoders.posterior import LOGVAR_RANGE, Posterior
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.stream import DecoderStream, EncoderStream
from vidlatent.errors import InputError
from vidlatent.streaming import Barrier, Plan, Sweepable, run
from vidlatent.streaming.meter import weight_bytes
from vidlatent.streaming.planner import plan_sweep

Policy = Literal["exact", "upstream"]
Direction = Literal["encode", "decode"]


@dataclass(frozen=True)
class Trees:
    """What a family builds from its configuration.

    `encoder` gives the mean, followed by the log-variance along the channels where `has_logvar`; `decoder` gives the
    video. The encoder fits any size to the strides itself.
    """

    encoder: Sweepable
    decoder: Sweepable
    spec: LatentSpec
    has_logvar: bool


class Autoencoder(nn.Module):
    """Compress video `(B, 3, T, H, W)` in [-1, 1] to latents `(B, C, t, h, w)` and back.

    `family` and `config` (a frozen dataclass) name the architecture; `trees` is what the family built from it.
    Activations are kept channels-last, which convolution and norms are faster on.
    """

    def __init__(self, family: str, config: object, trees: Trees) -> None:
        super().__init__()
        self.family, self.config = family, config
        self.encoder, self.decoder = trees.encoder, trees.decoder
        self.latent_spec, self.has_logvar = trees.spec, trees.has_logvar
        for parameter in self.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, and of what they compute."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def exactness(self) -> Literal["single pass", "with barrier"]:
        """How sweeps equal the whole clip: layer by layer, or with layers that gather an axis first."""
        return "with barrier" if any(isinstance(module, Barrier) for module in self.modules()) else "single pass"

    @property
    def fingerprint(self) -> str:
        """Hash of architecture and weights, whatever device they are on: a latent never travels without it."""
        digest = hashlib.sha256(json.dumps([self.family, asdict(self.config)], sort_keys=True).encode())  # type: ignore[call-overload]
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]

    def encode(
        self,
        video: Tensor,
        *,
        memory: int | str | None = None,
        plan: Plan | None = None,
        policy: Policy = "exact",
    ) -> Posterior:
        """Compress a clip; neither `memory` nor `plan` changes the answer.

        `video` is (B, 3, T, H, W), floating point in [-1, 1], any T, H, W >= 1: sizes that do not fit the strides are
        padded by repeating the last frame, row and column. `memory` is a budget in bytes or as "2GiB"; `plan` says
        exactly how to cut. Gradients flow only to a video that requires them: a graph would hold every slab, so train
        through `encoder` and `decoder` themselves. Raises `InputError` for anything else than a clip, `BudgetTooSmall`
        if nothing fits.
        """
        self._check(video, 3, "video (B, 3, T, H, W) in [-1, 1]")
        _check_policy(policy)
        plan = plan or self.plan(tuple(video.shape), memory, "encode")
        with _gradients_for(video):
            out = None
            if plan.axes and not torch.is_grad_enabled():
                out = self._room(video, self.num_moments, self.latent_grid(tuple(video.shape[2:])))
            moments = run(self.encoder, video, plan, out, prepare=self.prepare)
        size = (video.shape[3], video.shape[4])
        if not self.has_logvar:
            return Posterior(moments, None, video.shape[2], size)
        mean, logvar = moments.chunk(2, 1)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE), video.shape[2], size)

    def decode(
        self,
        latents: Tensor,
        *,
        num_frames: int | None = None,
        size: tuple[int, int] | None = None,
        memory: int | str | None = None,
        plan: Plan | None = None,
        policy: Policy = "exact",
    ) -> Tensor:
        """Reconstruct the clip (B, 3, T, H, W) in [-1, 1]; neither `memory` nor `plan` changes the answer.

        `latents` are (B, C, t, h, w), not normalised. `num_frames` and `size` (H, W) crop away what `encode` added to
        fit the strides (a `Posterior` carries both). Gradients flow as in `encode`. Raises `InputError` where they ask
        for more than the latents hold.
        """
        spec = self.latent_spec
        self._check(latents, spec.channels, f"latents (B, {spec.channels}, t, h, w)")
        _check_policy(policy)
        frames, height, width = self._extent(latents, num_frames, size)
        plan = plan or self.plan(tuple(latents.shape), memory, "decode")
        whole = self._extent(latents, None, None)
        with _gradients_for(latents):
            out = None
            if plan.axes and not torch.is_grad_enabled():
                out = self._room(latents, 3, whole)
            video = run(self.decoder, latents, plan, out, prepare=self.prepare)
        return video[:, :, :frames, :height, :width]

    def plan(
        self, shape: tuple[int, ...], memory: int | str | None, direction: Direction, *, streaming: bool = False
    ) -> Plan:
        """How `encode` or `decode` cuts an input of `shape` (B, C, T, H, W) to stay within `memory`.

        With `streaming`, the clip and the answer are not held as a whole, as in `stream_encoder`.
        """
        if memory is None:
            return Plan()
        spec, (batch, _, t, h, w) = self.latent_spec, shape
        if direction == "encode":
            module, other, grain = self.encoder, self.decoder, spec.stride[:2]
            channels, grid = self.num_moments, self.latent_grid((t, h, w))
        else:
            module, other, grain = self.decoder, self.encoder, (1, 1)
            channels, grid = 3, (spec.num_frames(t), h * spec.stride[1], w * spec.stride[2])
        return plan_sweep(
            module,
            tuple(shape),
            memory,
            dtype=self.dtype,
            grain=grain,
            output_bytes=batch * channels * math.prod(grid) * self.dtype.itemsize,
            held_bytes=weight_bytes(other),
            streaming=streaming,
        )

    @property
    def num_moments(self) -> int:
        """Channels that the encoder gives: means, and log-variances where there are any."""
        return self.latent_spec.channels * (2 if self.has_logvar else 1)

    def latent_grid(self, video: tuple[int, ...]) -> tuple[int, int, int]:
        """Latent frames, rows and columns that a video of (T, H, W) is compressed to."""
        return self.latent_spec.num_latent_frames(video[0]), *self.latent_spec.latent_size(*video[1:])

    def _room(self, x: Tensor, channels: int, grid: tuple[int, ...]) -> Tensor:
        """Room for an answer, in the layout of activations."""
        return torch.empty(
            len(x), channels, *grid, dtype=self.dtype, device=self.device, memory_format=torch.channels_last_3d
        )

    def stream_encoder(self, plan: Plan | None = None, memory: int | str | None = None) -> EncoderStream:
        """Encode frames as they come: `push(video)` returns the latents that are complete, maybe none."""
        return EncoderStream(self, plan, memory)

    def stream_decoder(
        self, plan: Plan | None = None, memory: int | str | None = None, *, size: tuple[int, int] | None = None
    ) -> DecoderStream:
        """Decode latents as they come: `push(latents)` returns the frames that are complete, cropped to `size`."""
        return DecoderStream(self, plan, memory, size=size)

    def normalize(self, latents: Tensor) -> Tensor:
        """Per channel to mean 0 and standard deviation 1: what a diffusion model is fed."""
        return self.latent_spec.normalize(latents)

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`: what `decode` takes."""
        return self.latent_spec.denormalize(latents)

    def prepare(self, x: Tensor) -> Tensor:
        """Bring input to the device, type and layout of the weights."""
        return x.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last_3d)

    def _check(self, x: Tensor, channels: int, wanted: str) -> None:
        if not isinstance(x, Tensor) or x.ndim != 5 or x.shape[1] != channels or not x.numel():
            given = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"expected {wanted}, got {given}")
        if not x.is_floating_point():
            raise InputError(f"expected {wanted}, got {x.dtype}: vidlatent.io.to_float makes it from uint8 frames")

    def _extent(self, latents: Tensor, num_frames: int | None, size: tuple[int, int] | None) -> tuple[int, int, int]:
        spec, (_, _, t, h, w) = self.latent_spec, latents.shape
        most = (spec.num_frames(t), h * spec.stride[1], w * spec.stride[2])
        asked = (most[0] if num_frames is None else num_frames, *(size or most[1:]))
        if any(not 1 <= a <= m for a, m in zip(asked, most, strict=True)):
            raise InputError(f"latents {tuple(latents.shape)} hold up to {most} (T, H, W), asked for {asked}")
        return asked


def _gradients_for(x: Tensor) -> torch.set_grad_enabled:
    return torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad)


def _check_policy(policy: str) -> None:
    if policy != "exact":
        raise InputError(f"policy {policy!r}: this family knows 'exact' only")
