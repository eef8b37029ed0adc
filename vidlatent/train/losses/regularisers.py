"""What makes latents easier to generate ("diffusable"), each a term on top of reconstruction.

equivariance: L1(decode(A z), A x),  A a scaling in space (EQ-VAE, arXiv:2502.09509; arXiv:2502.14831) or a quarter
              turn or flip
masking:      decode(m z + (1 - m) t) for x, where a share of positions is replaced by a learned token t
local correlation: mean max(0, c - corr(z_p, z_q)) over neighbours p, q     (after SSVAE's)
alignment:    mean max(0, 1 - m1 - cos(P z, f)) + mean max(0, |cos(z_i, z_j) - cos(f_i, f_j)| - m2)
              (VA-VAE, arXiv:2501.01423, eq. 5 and 7), f features of a frozen network that the user supplies
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TOKENS = 512
"""Positions compared pairwise in the alignment's second term."""


def scaled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows and columns of `(B, C, T, H, W)` resampled to `size`, antialiased."""
    b, _, t = x.shape[:3]
    frames = x.transpose(1, 2).flatten(0, 1)
    out = F.interpolate(frames, size, mode="bilinear", align_corners=False, antialias=True)
    return out.unflatten(0, (b, t)).transpose(1, 2)


def random_scale(latent_rows: int, latent_columns: int, lowest: float = 0.25) -> tuple[int, int]:
    """Latent rows and columns after scaling both by U[lowest, 1)."""
    factor = lowest + (1 - lowest) * float(torch.rand(()))
    return max(1, round(latent_rows * factor)), max(1, round(latent_columns * factor))


def turned(x: Tensor, quarter: int, flip: bool) -> Tensor:
    """Turned by `quarter` right angles in the frame, then mirrored."""
    x = torch.rot90(x, quarter, (3, 4))
    return x.flip(4) if flip else x


class LatentMask(nn.Module):
    """Replaces a random share of latent positions by a learned token: none for `keep` of all clips."""

    def __init__(self, channels: int, *, shares: tuple[float, ...] = (0.25, 0.5, 0.75), keep: float = 0.7) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(channels, 1, 1, 1))
        self.shares, self.keep = shares, keep

    def forward(self, latents: Tensor) -> Tensor:
        """Latents with a share masked, drawn for the batch."""
        if float(torch.rand(())) < self.keep:
            return latents + 0 * self.token
        share = self.shares[int(torch.randint(len(self.shares), ()))]
        hidden = torch.rand(latents.shape[0], 1, *latents.shape[2:], device=latents.device) < share
        return torch.where(hidden, self.token.to(latents.dtype), latents)


def local_correlation(latents: Tensor, least: float = 0.75) -> Tensor:
    """How far the correlation of neighbouring latents, over channels, falls short of `least`; along T, H and W."""
    centred = F.normalize(latents - latents.mean((2, 3, 4), keepdim=True), dim=1, eps=1e-6)
    terms = []
    for axis in (2, 3, 4):
        length = latents.shape[axis]
        if length > 1:
            pairs = (centred.narrow(axis, 0, length - 1) * centred.narrow(axis, 1, length - 1)).sum(1)
            terms.append(F.relu(least - pairs).mean())
    return torch.stack(terms).mean() if terms else latents.new_zeros(())


class Alignment(nn.Module):
    """Pulls latents to features of a frozen network, up to a linear map."""

    def __init__(self, channels: int, width: int, *, cosine_margin: float = 0.5, distance_margin: float = 0.25) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width, bias=False)
        self.cosine_margin, self.distance_margin = cosine_margin, distance_margin

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """The term for latents (B, C, t, h, w) and features (B, F, t', h', w') of any grid."""
        features = F.interpolate(features.float(), latents.shape[2:], mode="trilinear", align_corners=False)
        z, f = (x.permute(0, 2, 3, 4, 1).flatten(1, 3) for x in (latents, features))
        chosen = torch.randperm(z.shape[1], device=z.device)[:_TOKENS]
        z, f = self.project(z[:, chosen]), f[:, chosen]
        z, f = F.normalize(z, dim=-1), F.normalize(f, dim=-1)
        near = F.relu(1 - self.cosine_margin - (z * f).sum(-1)).mean()
        alike = F.relu((z @ z.transpose(1, 2) - f @ f.transpose(1, 2)).abs() - self.distance_margin).mean()
        return near + alike
