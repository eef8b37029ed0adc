"""The optimal linear code of video patches: what any autoencoder of the same latent size must beat.

Patches `p` of t*h*w*3 numbers are coded as `z = V^T (p - mean)`, V the leading eigenvectors of their covariance, and
decoded as `V z + mean`: no linear code of the same size has a smaller squared error on the fitted patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.nn import DepthToSpace, SpaceToDepth


class PatchPCA:
    """Principal components of patches of (t, h, w) pixels, fitted clip by clip.

    The first frame of a clip is a patch of its own, repeated t times, as in a causal autoencoder of the same stride.
    Call `add` for every clip (B, 3, T, H, W), T = 1 + k * t, H and W multiples of h and w, then `solve`.
    """

    def __init__(self, patch: tuple[int, int, int], components: int) -> None:
        self.patch, self.components = patch, components
        self._fold, self._unfold = SpaceToDepth(patch, before=patch[0] - 1), DepthToSpace(patch)
        size = 3 * patch[0] * patch[1] * patch[2]
        self._count, self._sum = 0, torch.zeros(size, dtype=torch.double)
        self._products = torch.zeros(size, size, dtype=torch.double)
        self.mean, self.basis, self.scale = torch.empty(0), torch.empty(0), torch.empty(0)

    def _patches(self, video: Tensor) -> Tensor:
        return self._fold(video).permute(0, 2, 3, 4, 1)

    def add(self, video: Tensor) -> None:
        """Take a clip's patches into the covariance."""
        rows = self._patches(video).flatten(0, 3)
        self._count += len(rows)
        self._sum += rows.sum(0, dtype=torch.double)
        self._products += (rows.T @ rows).double()

    def solve(self) -> PatchPCA:
        """Compute `mean` (n,), `basis` (n, components) and `scale`, the components' standard deviations."""
        mean = self._sum / self._count
        values, vectors = torch.linalg.eigh(self._products / self._count - mean.outer(mean))
        order = values.argsort(descending=True)[: self.components]
        self.mean, self.basis, self.scale = mean.float(), vectors[:, order].float(), values[order].sqrt().float()
        return self

    def encode(self, video: Tensor) -> Tensor:
        """Codes (B, components, t, h, w) of a clip."""
        return ((self._patches(video) - self.mean) @ self.basis).permute(0, 4, 1, 2, 3)

    def decode(self, codes: Tensor) -> Tensor:
        """The clip of codes (B, components, t, h, w), clamped to [-1, 1]."""
        patches = codes.permute(0, 2, 3, 4, 1) @ self.basis.T + self.mean
        return self._unfold(patches.permute(0, 4, 1, 2, 3))[:, :, self.patch[0] - 1 :].clamp(-1.0, 1.0)

    def reconstruct(self, video: Tensor) -> Tensor:
        """Code a clip and decode it again, clamped to [-1, 1]."""
        return self.decode(self.encode(video))
