"""Binary codes without a codebook: lookup-free and spherical quantisation.

    LFQ (MAGVIT-v2, arXiv:2310.05737):  q = sign(z)
    BSQ (arXiv:2406.07548):             u = z / |z|,  q = sign(u) / sqrt(D)

The code is the number whose bits are the signs, the first channel the highest. Bits are soft for the entropy only:
p(bit) = sigmoid(4 z q / temperature), the softmax over codes of minus twice the squared distance's mixed term.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.quantize.bottleneck import Bottled, Bottleneck, check_codes, like, rows_of, straight_through
from vidlatent.quantize.entropy import bit_entropy_gap
from vidlatent.streaming import Pointwise

_GROUP = 9
"""Bits whose codes are counted jointly: MAGVIT-v2's 18 are two groups."""


class BinaryQuantizer(Bottleneck, Pointwise):
    """Channels of one bit each: corners of a cube or, with `spherical`, of one within the unit sphere.

    Terms: "commitment" and "entropy", in which the diversity of codes counts `diversity` times.
    """

    places: Tensor

    def __init__(
        self, bits_per_latent: int, *, spherical: bool = False, temperature: float = 1.0, diversity: float = 1.0
    ) -> None:
        super().__init__()
        self.in_channels = self.channels = self.out_channels = bits_per_latent
        self.sizes, self.spherical = (2**bits_per_latent,), spherical
        self.temperature, self.diversity = temperature, diversity
        self.size = bits_per_latent**-0.5 if spherical else 1.0
        places = 2 ** torch.arange(bits_per_latent - 1, -1, -1)
        self.register_buffer("places", places, persistent=False)

    @property
    def bits(self) -> float:
        return float(self.channels)

    def apply_to(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, self.size, -self.size).to(x.dtype)

    def bottle(self, x: Tensor) -> Bottled:
        rows = rows_of(x).float()
        rows = F.normalize(rows, dim=-1) if self.spherical else rows
        quantized = self.apply_to(rows)
        ones = torch.sigmoid(4 * self.size * rows / self.temperature)
        losses = {
            "commitment": F.mse_loss(rows, quantized),
            "entropy": bit_entropy_gap(ones, _GROUP, self.diversity),
        }
        latents = like(straight_through(rows, quantized), x).to(x.dtype)
        return Bottled(latents, losses, self.codes(like(quantized, x)))

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        bits = (rows_of(latents) > 0).long()
        return ((bits * self.places).sum(1).view(latents.shape[0], *latents.shape[2:]),)

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        check_codes(codes, self.sizes)
        bits = codes[0].to(self.places.device)[..., None] // self.places % 2
        return ((2 * bits - 1) * self.size).permute(0, 4, 1, 2, 3)
