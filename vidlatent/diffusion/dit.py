"""The video diffusion transformer: velocity of every latent frame, each at a noise level of its own.

    v = dit(z_t, t, context),   z_t = (1 - t) z_0 + t eps,   v ~ eps - z_0,   t (B, t) in [0, 1], 1 = noise

Patches are (1, p, p): time is never merged, so one latent frame is one group of tokens and one entry of the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidlatent.config import RunConfig
from vidlatent.diffusion.attention import Backend
from vidlatent.diffusion.cache import KVCache
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.embeddings import ContextEmbedding, TimeEmbedding
from vidlatent.diffusion.layers import Block, CrossAttention, Head, Pass
from vidlatent.diffusion.masks import Causal, Full, Predicate, mask_for
from vidlatent.diffusion.rope import Rope
from vidlatent.errors import InputError


class VideoDiTConfig(RunConfig):
    """Architecture of a `VideoDiT`, and who sees whom in it.

    channels   of the latents.             patch    side of a patch on the latent grid.
    dim, depth, heads                      registers  extra tokens a frame (arXiv:2309.16588).
    causal     frames see no later block; `block` frames see each other; `window` frames before, None = all, and
               `sinks`, the first frames of a clip.
    num_classes, action_dim, text_dim      0 = not conditioned on it.
    """

    channels: PositiveInt
    dim: PositiveInt = 384
    depth: PositiveInt = 12
    heads: PositiveInt = 6
    patch: PositiveInt = 2
    registers: NonNegativeInt = 0
    causal: bool = False
    block: PositiveInt = 1
    window: NonNegativeInt | None = None
    sinks: NonNegativeInt = 0
    num_classes: NonNegativeInt = 0
    action_dim: NonNegativeInt = 0
    text_dim: NonNegativeInt = 0
    rope_base: float = 1e4

    @model_validator(mode="after")
    def _fits(self) -> VideoDiTConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim={self.dim} must be a multiple of heads={self.heads}")
        Rope(self.dim // self.heads, self.rope_base)
        self.mask  # noqa: B018 - refuses what does not fit
        return self

    @property
    def mask(self) -> Causal:
        """Who sees whom in a causal model."""
        return Causal(self.block, self.window, self.sinks)


class VideoDiT(nn.Module):
    """Diffusion transformer on video latents; see the module's equation.

    `rope`, `predicate` (None: as configured), `backend` (None: chosen) and `gradient_checkpointing`
    may be set at any time. `metadata` travels with the weights: what they were trained on.
    """

    def __init__(self, config: VideoDiTConfig) -> None:
        super().__init__()
        self.config = config
        self.rope = Rope(config.dim // config.heads, config.rope_base)
        self.predicate: Predicate | None = None
        self.backend: Backend | None = None
        self.gradient_checkpointing = False
        self.metadata: dict[str, Any] = {}
        dim, text = config.dim, config.text_dim > 0
        self.to_tokens = nn.Linear(config.channels * config.patch**2, dim)
        self.registers = nn.Parameter(torch.zeros(config.registers, dim)) if config.registers else None
        self.time = TimeEmbedding(dim)
        self.context = ContextEmbedding(
            dim, num_classes=config.num_classes, action_dim=config.action_dim, text_dim=config.text_dim
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(dim, config.heads, i, text=text) for i in range(config.depth))
        self.head = Head(dim, config.channels * config.patch**2)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for name in ("time.mlp.0", "time.mlp.2"):
            nn.init.normal_(self.get_parameter(f"{name}.weight"), std=0.02)
        if self.registers is not None:
            nn.init.normal_(self.registers, std=0.02)
        # every block starts as the identity, and the answer at zero
        crosses = [module.to_out for module in self.modules() if isinstance(module, CrossAttention)]
        for linear in (self.modulation[1], self.head.to_out, *crosses):
            for parameter in linear.parameters():
                nn.init.zeros_(parameter)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.config.channels

    @property
    def causal(self) -> bool:
        """Whether finished frames never change what they say, so that their keys and values can be kept."""
        return self.config.causal

    def new_cache(
        self, *, window: int | None = None, sinks: int | None = None, sink_decay: float | None = None
    ) -> KVCache:
        """An empty cache of what a frame sees: `window` frames and `sinks` (default: the configuration's)."""
        window, sinks = (
            own if given is None else given for given, own in ((window, self.config.window), (sinks, self.config.sinks))
        )
        return KVCache(window=window, sinks=sinks or 0, sink_decay=sink_decay)

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        context: Context | None = None,
        *,
        mask: Predicate | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
        commit: bool = False,
    ) -> Tensor:
        """Velocity `(B, C, t, h, w)` of latents `z` of that shape at noise levels `t` `(B,)` or `(B, t)` in [0, 1].

        `context` None is the null of every condition. `mask` says who sees whom (default: the configuration's).
        `positions` `(k,)` or `(B, k)` are real times in latent frames (default 0, 1, ...). With a `cache` the frames
        follow those held; `commit` adds them to it. Then `positions` covers the frames held too.
        """
        config = self.config
        b, frames, size = self._check(z, t)
        held = cache.frames if cache is not None else 0
        positions = torch.arange(held + frames, device=z.device) if positions is None else positions.to(z.device)
        if positions.shape[-1] != held + frames:
            raise InputError(f"positions has {positions.shape[-1]} times for {held} frames held and {frames} new")
        turns = self.rope.turns(positions, size, config.registers, dtype=self.to_tokens.weight.dtype)
        text, text_mask = self._text(context, b, cache)
        visible = mask_for(mask or self._predicate(cache), frames, held + frames, turns.shape[-2])
        shared = Pass(turns, visible, text, text_mask, cache, commit, self.backend)

        frame = self.time(t if t.ndim == 2 else t[:, None].expand(b, frames)) + self.context.frames(context, b, frames)
        x = self._run(self._tokens(z), self.modulation(frame).unflatten(-1, (6, -1)), shared)
        if cache is not None and commit:
            cache.commit()
        out = self.head(x[:, :, config.registers :], frame)
        return rearrange(out, "b t (h w) (c p q) -> b c t (h p) (w q)", h=size[0], p=config.patch, q=config.patch)

    def _predicate(self, cache: KVCache | None) -> Predicate:
        """With a cache a frame sees what that may hold, which need not be what it saw in training."""
        if self.predicate is not None:
            return self.predicate
        if not self.config.causal:
            return Full()
        return self.config.mask if cache is None else Causal(self.config.block, cache.window, cache.sinks)

    def _text(self, context: Context | None, batch: int, cache: KVCache | None) -> tuple[Tensor | None, Tensor | None]:
        if cache is None or torch.is_grad_enabled() or (context and context.keep is not None):
            return self.context.tokens(context, batch)
        source = context.text if context else None
        return cache.constant("text", source, lambda: self.context.tokens(context, batch))

    def _tokens(self, z: Tensor) -> Tensor:
        p = self.config.patch
        x = self.to_tokens(
            rearrange(z.to(self.to_tokens.weight.dtype), "b c t (h p) (w q) -> b t (h w) (c p q)", p=p, q=p)
        )
        if self.registers is None:
            return x
        return torch.cat([self.registers.expand(*x.shape[:2], -1, -1), x], 2)

    def _run(self, x: Tensor, modulation: Tensor, shared: Pass) -> Tensor:
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, modulation, shared, use_reentrant=False)
            else:
                x = block(x, modulation, shared)
        return x

    def _check(self, z: Tensor, t: Tensor) -> tuple[int, int, tuple[int, int]]:
        p, channels = self.config.patch, self.config.channels
        if z.ndim != 5 or z.shape[1] != channels or z.shape[3] % p or z.shape[4] % p or not z.shape[2]:
            allowed = f"(B, {channels}, t, h, w) with h and w multiples of the patch, {p}"
            raise InputError(f"latents of shape {tuple(z.shape)}; allowed is {allowed}")
        b, frames = z.shape[0], z.shape[2]
        if t.shape not in ((b,), (b, frames)):
            raise InputError(f"noise levels of shape {tuple(t.shape)}; allowed are ({b},) and ({b}, {frames})")
        return b, frames, (z.shape[3] // p, z.shape[4] // p)
