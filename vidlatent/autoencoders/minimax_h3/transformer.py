"""The decoder of MiniMax-H3: a transformer over all latents of a tile of a clip, and as many blocks of pixels.

Positions run from -1 to 1 over the tile at hand, whatever its size, which is why the tile is part of the model.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.autoencoders.minimax_h3.config import MiniMaxH3Config
from vidlatent.nn.attention import attend

_EPS = 1e-5


class TileTransformer(nn.Module):
    """Latents `(B, C, t, h, w)` to video `(B, 3, t * stride, ...)`; every position sees every other."""

    def __init__(self, config: MiniMaxH3Config) -> None:
        super().__init__()
        width, self.stride, self.config = config.decoder_width, config.stride, config
        self.proj_in = nn.Linear(config.latent_channels, width)
        self.registers = nn.Parameter(torch.empty(1, config.registers, width))
        nn.init.zeros_(self.registers)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.decoder_blocks))
        self.norm_out = nn.LayerNorm(width, eps=_EPS)
        self.proj_out = nn.Linear(width, 3 * math.prod(config.stride))

    def forward(self, latents: Tensor) -> Tensor:
        b, _, t, h, w = latents.shape
        x = self.proj_in(latents.permute(0, 2, 3, 4, 1).flatten(1, 3))
        count, registers = x.shape[1], self.registers.expand(b, -1, -1)
        x = torch.cat([x, registers, torch.zeros_like(x[:, :1])], 1)
        cosines_sines = self._rotations((t, h, w), x)
        for block in self.blocks:
            x = block(x, cosines_sines)
        x = self.proj_out(self.norm_out(x[:, :count]))
        blocks = x.view(b, t, h, w, 3, *self.stride).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return blocks.reshape(b, 3, *(n * s for n, s in zip((t, h, w), self.stride, strict=True)))

    def _rotations(self, extent: tuple[int, int, int], x: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(tokens, 1, rotated channels)`; tokens that are nowhere are at 0, and not rotated."""
        axes = [(torch.arange(n, device=x.device, dtype=torch.double) + 0.5) / n * 2 - 1 for n in extent]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
        places = F.pad(places, (0, 0, 0, self.config.registers + 1))
        dims = self.config.rotated_dims
        powers = torch.arange(0, dims // 6, device=x.device, dtype=torch.double) * (6 / dims)
        angles = 2 * math.pi * places[..., None] * self.config.theta**-powers
        angles = angles.flatten(1).tile(2)[:, None]
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class _Block(nn.Module):
    def __init__(self, config: MiniMaxH3Config) -> None:
        super().__init__()
        width, self.heads, self.head_dim = config.decoder_width, config.heads, config.head_dim
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=_EPS), nn.RMSNorm(width, eps=_EPS)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen = nn.Linear(width, 2 * config.expansion * width)
        self.narrow = nn.Linear(config.expansion * width, width)
        self.scale1, self.scale2 = (nn.Parameter(torch.empty(width)) for _ in range(2))
        for scale in (self.scale1, self.scale2):
            nn.init.zeros_(scale)

    def forward(self, x: Tensor, rotations: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self._attended(self.norm1(x), rotations) * self.scale1
        values, gates = self.widen(self.norm2(x)).chunk(2, -1)
        return x + self.narrow(values * F.silu(gates)) * self.scale2

    def _attended(self, x: Tensor, rotations: tuple[Tensor, Tensor]) -> Tensor:
        queries, keys, values = self.to_qkv(x).unflatten(-1, (3, self.heads, self.head_dim)).unbind(2)
        queries, keys = (_rotate(F.rms_norm(part, (self.head_dim,), None, _EPS), rotations) for part in (queries, keys))
        return self.to_out(attend(queries.flatten(2), keys.flatten(2), values.flatten(2), self.heads))


def _rotate(x: Tensor, rotations: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of the first channels of every head; the others stay."""
    cosines, sines = rotations
    turned, rest = x[..., : cosines.shape[-1]], x[..., cosines.shape[-1] :]
    first, second = turned.chunk(2, -1)
    return torch.cat([turned * cosines + torch.cat([-second, first], -1) * sines, rest], -1)
