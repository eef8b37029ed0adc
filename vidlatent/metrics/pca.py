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
    Call `add` for every clip (B, 3, T, H, W), T = 1 + k * t, H and W multiples of h and w, then `solve`. A clip may
    come in runs of frames: `first=False` goes on where another has ended, T = k * t.
    """

    def __init__(self, patch: tuple[int, int, int], components: int) -> None:
        self.patch, self.components = patch, components
        self._fold, self._unfold = SpaceToDepth(patch), DepthToSpace(patch)
        self._fold_first = SpaceToDepth(patch, before=patch[0] - 1)
        size = 3 * patch[0] * patch[1] * patch[2]
        self._count, self._sum = 0, torch.zeros(size, dtype=torch.double)
        self._products = torch.zeros(size, size, dtype=torch.double)
        self.mean, self.basis, self.scale = torch.empty(0), torch.empty(0), torch.empty(0)

    def _patches(self, video: Tensor, first: bool) -> Tensor:
        return (self._fold_first if first else self._fold)(video).permute(0, 2, 3, 4, 1)

    def add(self, video: Tensor, *, first: bool = True) -> None:
        """Take a clip's patches into the covariance."""
        rows = self._patches(video, first).flatten(0, 3)
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

    def encode(self, video: Tensor, *, first: bool = True) -> Tensor:
        """Codes (B, components, t, h, w) of a clip."""
        return ((self._patches(video, first) - self.mean) @ self.basis).permute(0, 4, 1, 2, 3)

    def decode(self, codes: Tensor, *, first: bool = True) -> Tensor:
        """The clip of codes (B, components, t, h, w), clamped to [-1, 1]."""
        patches = codes.permute(0, 2, 3, 4, 1) @ self.basis.T + self.mean
        video = self._unfold(patches.permute(0, 4, 1, 2, 3)).clamp(-1.0, 1.0)
        return video[:, :, self.patch[0] - 1 :] if first else video

    def reconstruct(self, video: Tensor) -> Tensor:
        """Code a clip and decode it again, clamped to [-1, 1]."""
        return self.decode(self.encode(video))
