"""The one autoencoder class: two sweepable trees, a latent grid between them, and a memory that is a parameter."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import lt
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vidlatent.autoencoders.posterior import LOGVAR_RANGE, Posterior
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.stream import DecoderStream, EncoderStream
from vidlatent.autoencoders.upstream import Direction, Policy, Upstream, run_as_published, with_closed_norms
from vidlatent.errors import InputError
from vidlatent.quantize import Bottleneck
from vidlatent.streaming import Barrier, Plan, Sweepable, T, run
from vidlatent.streaming.meter import weight_bytes
from vidlatent.streaming.planner import plan_sweep


@dataclass(frozen=True)
class Trees:
    """What a family builds from its configuration.

    `encoder` gives the mean, followed by the log-variance along the channels where `has_logvar`; `decoder` gives the
    video, which `Autoencoder` clamps to [-1, 1]. The encoder fits any size to the strides itself.
    `upstream` says where published code computes something else than the whole clip.
    """

    encoder: Sweepable
    decoder: Sweepable
    spec: LatentSpec
    has_logvar: bool
    upstream: Upstream = field(default_factory=Upstream)


class Autoencoder(nn.Module):
    """Compress video `(B, 3, T, H, W)` in [-1, 1] to latents `(B, C, t, h, w)` and back.

    `family` and `config` (a frozen dataclass) name the architecture; `trees` is what the family built from it.
    Activations are kept channels-last, which convolution and norms are faster on.
    """

    def __init__(self, family: str, config: object, trees: Trees) -> None:
        super().__init__()
        self.family, self.config = family, config
        self.encoder, self.decoder = trees.encoder, trees.decoder
        self.latent_spec, self.has_logvar, self.upstream = trees.spec, trees.has_logvar, trees.upstream
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
    def bottleneck(self) -> Bottleneck | None:
        """What the encoder of a discrete or configurable autoencoder ends with; None in other families."""
        last = self.encoder[-1] if isinstance(self.encoder, nn.Sequential) else None
        return last if isinstance(last, Bottleneck) else None

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        """The codes, int64 (B, t, h, w) for each codebook, that the latents of a discrete autoencoder stand for.

        `from_codes` is the inverse. Raises `InputError` for an autoencoder without codes.
        """
        return self._codebooks().codes(latents)

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        """The latents (B, C, t, h, w) that codes stand for, for `decode`. Raises `InputError` for unknown codes."""
        return self._codebooks().from_codes(codes)

    def _codebooks(self) -> Bottleneck:
        if self.bottleneck is None:
            raise InputError(f"{self.family}: this autoencoder is continuous: its latents have no codes")
        return self.bottleneck

    @property
    def fingerprint(self) -> str:
        """Hash of architecture and weights, whatever device they are on: a latent never travels without it."""
        digest = hashlib.sha256(json.dumps([self.family, asdict(self.config)], sort_keys=True).encode())  # type: ignore[call-overload]
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that diffusers and `load` read. Raises `ModelError` for a family that diffusers lacks."""
        from vidlatent.autoencoders.diffusers_format import save_pretrained

        save_pretrained(self, folder)

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
        exactly how to cut. `policy` is what is computed: "exact", the clip as a whole; "native", as published code does
        by itself, which differs for families that take frames in chunks; "upstream", with published code's blended
        tiles as well. Gradients flow only to a video that requires them: a graph would hold every slab, so train
        through `encoder` and `decoder` themselves. Raises `InputError` for anything else than a clip, `BudgetTooSmall`
        if nothing fits.
        """
        self.check("encode", video)
        self.check_policy(policy)
        with _gradients_for(video):
            moments = self._by_policy("encode", video, memory, plan, policy)
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
        self.check("decode", latents)
        self.check_policy(policy)
        frames, height, width = self._extent(latents, num_frames, size)
        with _gradients_for(latents):
            video = self._by_policy("decode", latents, memory, plan, policy)
            video = video.clamp(-1, 1) if torch.is_grad_enabled() else video.clamp_(-1, 1)
        return video[:, :, :frames, :height, :width]

    def _by_policy(
        self, direction: Direction, x: Tensor, memory: int | str | None, plan: Plan | None, policy: Policy
    ) -> Tensor:
        if self.upstream.differs(policy):
            if plan is not None:
                raise InputError(f"a plan cuts policy 'exact': give memory= with {policy!r}")
            return run_as_published(self, direction, x, memory, policy)
        return self.run_whole(direction, x, plan or self.plan(tuple(x.shape), memory, direction))

    def run_whole(self, direction: Direction, x: Tensor, plan: Plan) -> Tensor:
        """The encoder's moments of a video, or the decoder's video, not clamped, of latents, cut by `plan`."""
        out = self.room_for(direction, x) if plan.axes and not torch.is_grad_enabled() else None
        return run(self.tree(direction), x, plan, out, prepare=self.prepare)

    def plan(
        self,
        shape: tuple[int, ...],
        memory: int | str | None,
        direction: Direction,
        *,
        streaming: bool = False,
        held_bytes: int = 0,
        chunk: int | None = None,
    ) -> Plan:
        """How `encode` or `decode` cuts an input of `shape` (B, C, T, H, W) to stay within `memory`.

        With `streaming`, the clip and the answer are not held as a whole, as in `stream_encoder`. `held_bytes` lie
        there besides. With `chunk`, frames are taken so many at a time, and norms over the clip are over those.
        """
        if memory is None:
            return Plan((T,), chunk=chunk) if chunk else Plan()
        other = self.decoder if direction == "encode" else self.encoder
        return plan_sweep(
            with_closed_norms(self.tree(direction)) if chunk else self.tree(direction),
            tuple(shape),
            memory,
            dtype=self.dtype,
            grain=self.latent_spec.stride[:2] if direction == "encode" else (1, 1),
            output_bytes=math.prod(self.answer_shape(direction, shape)) * self.dtype.itemsize,
            held_bytes=weight_bytes(other) + held_bytes,
            streaming=streaming,
            chunk=chunk,
        )

    def tree(self, direction: Direction) -> Sweepable:
        """The encoder, or the decoder."""
        return self.encoder if direction == "encode" else self.decoder

    def answer_shape(self, direction: Direction, shape: tuple[int, ...]) -> tuple[int, int, int, int, int]:
        """What moments of a video, or the video of latents, of `shape` (B, C, T, H, W) are."""
        spec, (batch, _, t, h, w) = self.latent_spec, shape
        if direction == "encode":
            return batch, self.num_moments, *self.latent_grid((t, h, w))
        return batch, 3, spec.num_frames(t), h * spec.stride[1], w * spec.stride[2]

    @property
    def num_moments(self) -> int:
        """Channels that the encoder gives: means, and log-variances where there are any."""
        return self.latent_spec.channels * (2 if self.has_logvar else 1)

    def latent_grid(self, video: tuple[int, ...]) -> tuple[int, int, int]:
        """Latent frames, rows and columns that a video of (T, H, W) is compressed to."""
        return self.latent_spec.num_latent_frames(video[0]), *self.latent_spec.latent_size(*video[1:])

    def room_for(self, direction: Direction, x: Tensor) -> Tensor:
        """Room for the answer to `x`, in the layout of activations."""
        shape = self.answer_shape(direction, tuple(x.shape))
        return torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=torch.channels_last_3d)

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

    def check_policy(self, policy: str) -> None:
        """Raise `InputError` for a policy that this family does not have."""
        allowed = ["exact", "native", *(["upstream"] if self.upstream.has_tiles else [])]
        if policy not in allowed:
            why = f": {self.upstream.without_tiles}" if policy == "upstream" else ""
            raise InputError(f"policy={policy!r}: family {self.family!r} has {', '.join(allowed)}{why}")

    def check(self, direction: Direction, x: Tensor, *, fewest_frames: int = 1) -> None:
        """Raise `InputError` for what is no video to encode, or no latents to decode."""
        channels = 3 if direction == "encode" else self.latent_spec.channels
        wanted = "video (B, 3, T, H, W) in [-1, 1]" if direction == "encode" else f"latents (B, {channels}, t, h, w)"
        least = (1, channels, fewest_frames, 1, 1)
        if not isinstance(x, Tensor) or x.ndim != 5 or x.shape[1] != channels or any(map(lt, x.shape, least)):
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
