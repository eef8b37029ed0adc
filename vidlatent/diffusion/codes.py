"""A prior over the codes of a discrete autoencoder: next-code prediction in raster order (VideoGPT, arXiv:2104.10157).

    p(c) = prod_i p(c_i | c_0, ..., c_{i-1}, label),   i over frames, then rows, then columns

Pre-norm blocks with rotary positions and SwiGLU, as in LlamaGen (arXiv:2406.06525); attention, cache and positions are
those of the diffusion transformer, where every code is a frame of one token. Each input stands at the position of the
code that it predicts: a start token at the first, code i - 1 at that of code i.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vidlatent.config import RunConfig
from vidlatent.diffusion.cache import KVCache
from vidlatent.diffusion.checkpoint import read_model
from vidlatent.diffusion.layers import EPS, Pass, SelfAttention, SwiGLU
from vidlatent.diffusion.masks import Causal, Mask
from vidlatent.diffusion.rope import Rope
from vidlatent.errors import InputError
from vidlatent.files import write_tensors

_FORMAT = "vidlatent.CodeTransformer.1"


class CodeTransformerConfig(RunConfig):
    """`size` codes, `classes` labels besides "none"; `fingerprint` is that of the autoencoder whose codes these are."""

    size: int = Field(ge=2)
    dim: int = Field(default=256, ge=6)
    depth: int = Field(default=6, ge=1)
    heads: int = Field(default=4, ge=1)
    classes: int = Field(default=0, ge=0)
    fingerprint: str = ""


class CodeTransformer(nn.Module):
    """Logits of every code from those before it."""

    def __init__(self, config: CodeTransformerConfig) -> None:
        super().__init__()
        if config.dim % config.heads:
            raise InputError(f"dim={config.dim} does not divide into heads={config.heads}")
        self.config, self.rope = config, Rope(config.dim // config.heads)
        self.codes = nn.Embedding(config.size, config.dim)
        self.start = nn.Embedding(config.classes + 1, config.dim)  # the last is "none"
        self.blocks = nn.ModuleList(_Block(config.dim, config.heads, layer) for layer in range(config.depth))
        self.norm = nn.RMSNorm(config.dim, eps=EPS)
        self.head = nn.Linear(config.dim, config.size, bias=False)
        for embedding in (self.codes, self.start):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (B, t*h*w, size) of codes (B, t, h, w), each from those before it; `labels` (B,), None for none."""
        self._check(codes)
        flat = codes.flatten(1)
        x = torch.cat([self._start(len(codes), labels)[:, None], self.codes(flat[:, :-1])], 1)
        turns = self._turns(tuple(codes.shape[1:]))
        return self._run(x, turns, Mask(Causal(), x.shape[1], x.shape[1], 1), None)

    def loss(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood of a code in nats."""
        return F.cross_entropy(self(codes, labels).flatten(0, 1).float(), codes.flatten())

    @torch.no_grad()
    def sample(
        self,
        grid: tuple[int, int, int],
        *,
        labels: Tensor | None = None,
        begin: Tensor | None = None,
        batch: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw codes (B, t, h, w) one by one, each pass of one code: keys and values of those before are kept.

        `begin` (B, t', h, w) are the first frames' codes, which are kept as they are. `temperature` 0 takes the most
        likely code, `top_k` only among so many. Raises `InputError` for a beginning that does not fit `grid`.
        """
        if begin is not None:
            self._check(begin)
            if begin.shape[2:] != grid[1:] or begin.shape[1] > grid[0]:
                raise InputError(f"begin is {tuple(begin.shape[1:])}, which is no beginning of {grid}")
            batch = len(begin)
        known = begin.flatten(1) if begin is not None else torch.empty(batch, 0, dtype=torch.long)
        codes, cache = known.to(self.start.weight.device), KVCache()
        turns, total = self._turns(grid), grid[0] * grid[1] * grid[2]
        x = torch.cat([self._start(batch, labels)[:, None], self.codes(codes)], 1)[:, :total]
        while codes.shape[1] < total:
            seen = cache.frames + x.shape[1]
            mask = Mask(Causal(), x.shape[1], seen, 1) if x.shape[1] > 1 else None
            logits = self._run(x, turns[:, :, :seen], mask, cache)[:, -1]
            cache.commit()
            codes = torch.cat([codes, _draw(logits, temperature, top_k, generator)[:, None]], 1)
            x = self.codes(codes[:, -1:])
        return codes.view(batch, *grid)

    def _run(self, x: Tensor, turns: Tensor, mask: Mask | None, cache: KVCache | None) -> Tensor:
        shared = Pass(
            turns=turns, mask=mask, text=None, text_mask=None, cache=cache, commit=cache is not None, backend=None
        )
        x = x[:, :, None]
        for block in self.blocks:
            x = block(x, shared)
        return self.head(self.norm(x))[:, :, 0]

    def _start(self, batch: int, labels: Tensor | None) -> Tensor:
        none = torch.full((batch,), self.config.classes, device=self.start.weight.device)
        return self.start(none if labels is None else labels.to(none.device))

    def _turns(self, grid: tuple[int, ...]) -> Tensor:
        weight = self.codes.weight
        frames = torch.arange(grid[0], device=weight.device)
        turns = self.rope.turns(frames, (grid[1], grid[2]), dtype=weight.dtype)
        return turns.flatten(2, 3).unsqueeze(3)

    def _check(self, codes: Tensor) -> None:
        if codes.ndim != 4 or codes.is_floating_point():
            raise InputError(f"expected codes as integers (B, t, h, w), got {codes.dtype} {tuple(codes.shape)}")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.size:
            raise InputError(
                f"codes from {int(codes.min())} to {int(codes.max())}: allowed are 0 to {self.config.size - 1}"
            )


class _Block(nn.Module):
    """Attention, then SwiGLU, each behind a norm and added."""

    def __init__(self, dim: int, heads: int, layer: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.RMSNorm(dim, eps=EPS), nn.RMSNorm(dim, eps=EPS)
        self.attention, self.mlp = SelfAttention(dim, heads, layer), SwiGLU(dim)

    def forward(self, x: Tensor, shared: Pass) -> Tensor:
        x = x + self.attention(self.norm_1(x), shared)
        return x + self.mlp(self.norm_2(x))


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k is not None:
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def save_prior(model: CodeTransformer, path: str | Path) -> None:
    """Write a prior to one safetensors file with its configuration."""
    write_tensors(path, model.state_dict(), {"format": _FORMAT, "config": model.config.model_dump_json()})


def load_prior(path: str | Path) -> CodeTransformer:
    """Read what `save_prior` wrote. Raises `ModelError` for any other file."""
    return read_model(
        path,
        lambda header: CodeTransformer(CodeTransformerConfig.model_validate_json(header["config"])),
        form=_FORMAT,
        what="prior over codes",
    )
