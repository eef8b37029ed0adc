"""Vector quantisation: each latent is the nearest of K learned vectors (VQ-VAE, van den Oord et al., arXiv:1711.00937).

    code = argmin_k |z - e_k|,   commitment = |z - sg(e)|^2,   codebook = |sg(z) - e|^2

With `decay` the codebook is an exponential moving average of what its vectors stood for (eq. 6-8 there), and the
codebook term is 0; without, it is learned by that term. Vectors that stand for less than `revive_below` latents a step
on average are put anew on latents of the step (Jukebox, arXiv:2005.00341, 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.quantize.bottleneck import Bottled, Bottleneck, check_codes, like, rows_of, straight_through
from vidlatent.streaming import Pointwise

_SCORES = 1 << 24
"""Distances per block: 64 MiB in float32."""


class VectorQuantizer(Bottleneck, Pointwise):
    """`size` vectors of `channels`; `decay` 0 learns them by gradient, `revive_below` 0 never revives any."""

    embedding: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, channels: int, size: int, *, decay: float = 0.99, revive_below: float = 1.0) -> None:
        super().__init__()
        self.in_channels = self.channels = self.out_channels = channels
        self.sizes, self.decay, self.revive_below = (size,), decay, revive_below
        start = torch.empty(size, channels).normal_(std=1 / channels)
        if decay:
            self.register_buffer("embedding", start)
        else:
            self.embedding = nn.Parameter(start)
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", torch.zeros(size, channels))
        self.register_buffer("started", torch.zeros(()))

    @property
    def bits(self) -> float:
        return math.log2(self.sizes[0])

    def apply_to(self, x: Tensor) -> Tensor:
        return like(F.embedding(self._nearest(rows_of(x)), self.embedding.to(x.dtype)), x)

    def bottle(self, x: Tensor) -> Bottled:
        rows = rows_of(x).float()
        if self.training:
            self._start(rows.detach())
        codes = self._nearest(rows.detach())
        chosen = F.embedding(codes, self.embedding)
        losses = {"commitment": F.mse_loss(rows, chosen.detach())}
        if not self.decay:
            losses["codebook"] = F.mse_loss(chosen, rows.detach())
        if self.training:
            self._learn(rows.detach(), codes)
        latents = like(straight_through(rows, chosen), x).to(x.dtype)
        return Bottled(latents, losses, (codes.view(x.shape[0], *x.shape[2:]),))

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        return (self._nearest(rows_of(latents)).view(latents.shape[0], *latents.shape[2:]),)

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        check_codes(codes, self.sizes)
        return F.embedding(codes[0].to(self.embedding.device), self.embedding.detach()).permute(0, 4, 1, 2, 3)

    @torch.no_grad()
    def _nearest(self, rows: Tensor) -> Tensor:
        """Indices of the nearest vectors, by `|e|^2 - 2 z e`."""
        vectors = self.embedding.to(rows.dtype)
        lengths = vectors.square().sum(1)
        blocks = rows.split(max(1, _SCORES // self.sizes[0]))
        return torch.cat([torch.addmm(lengths, block, vectors.T, alpha=-2).argmin(1) for block in blocks])

    @torch.no_grad()
    def _start(self, rows: Tensor) -> None:
        """Put the vectors on latents of the first step."""
        if self.started:
            return
        self._put(torch.arange(self.sizes[0], device=rows.device), rows)
        self.started.fill_(1)

    @torch.no_grad()
    def _learn(self, rows: Tensor, codes: Tensor) -> None:
        counts = torch.bincount(codes, minlength=self.sizes[0]).to(rows.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, rows)
        for part in (counts, sums):
            _sum_over_processes(part)
        rate = 1 - (self.decay or 0.99)
        self.counts.lerp_(counts, rate)
        if self.decay:
            self.sums.lerp_(sums, rate)
            total = self.counts.sum()
            smooth = (self.counts + 1e-5) / (total + self.sizes[0] * 1e-5) * total  # as in the paper's own code
            self.embedding.copy_(self.sums / smooth[:, None])
        dead = (self.counts < self.revive_below).nonzero()[:, 0]
        if len(dead):
            self._put(dead, rows)

    def _put(self, which: Tensor, rows: Tensor) -> None:
        """Put vectors on random latents, with a count that lets them live a while."""
        chosen = rows[torch.randint(len(rows), (len(which),), device=rows.device)]
        spread = rows.std(0, correction=0)
        chosen = chosen + 0.01 * spread * torch.randn_like(chosen)  # or vectors on one latent never part
        _copy_from_first_process(chosen)
        count = max(self.revive_below, 1.0)
        self.embedding.data[which] = chosen.to(self.embedding.dtype)
        self.counts[which], self.sums[which] = count, chosen * count


def _sum_over_processes(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)


def _copy_from_first_process(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(x, 0)
