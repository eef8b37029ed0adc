"""The one interface of all bottlenecks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.nn import Chain
from vidlatent.streaming import Sweepable


@dataclass(frozen=True)
class Bottled:
    """What training gets: latents that gradients pass through, terms of the loss by name, and codes if there are any.

    Terms are not weighted. Codes are int64 `(B, t, h, w)`, one for each codebook.
    """

    latents: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    codes: tuple[Tensor, ...] = ()


class Bottleneck(Sweepable):
    """Maps what an encoder gives, `in_channels`, to latents, `channels`; the last leaf of an encoder's tree.

    `forward` is what inference does and sweeps; it is a function of its input. `bottle` is what training does: it may
    draw noise and, in training mode, learn its codebook. Latents of a discrete bottleneck stand for codes one to one:
    `codes` reads them, `from_codes` is its inverse. `opening` is what a decoder's tree begins with: it makes
    `out_channels` of latents, at `out_factors` times their grid. `sizes` are the codebooks' sizes, none for continuous
    latents; `bits` is the rate per latent position.
    """

    in_channels: int
    channels: int
    out_channels: int
    out_factors: tuple[int, int, int] = (1, 1, 1)
    sizes: tuple[int, ...] = ()

    @property
    def bits(self) -> float | None:
        """Bits per latent position when codes are stored plainly; None for continuous latents."""
        return None

    def bottle(self, x: Tensor) -> Bottled:
        """Latents, losses and codes of features `(B, in_channels, t, h, w)`, for training."""
        raise NotImplementedError

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        """The codes that latents of a discrete bottleneck stand for. Raises `InputError` where there are none."""
        raise InputError("this bottleneck is continuous: its latents have no codes")

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Latents from codes, the inverse of `codes`. Raises `InputError` for codes that are not in the codebooks."""
        raise InputError("this bottleneck is continuous: its latents have no codes")

    def opening(self) -> Sweepable:
        """A new module that makes of latents what the rest of the decoder takes."""
        return Chain()


def check_codes(codes: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Refuse codes that no codebook holds."""
    if len(codes) != len(sizes):
        raise InputError(f"expected {len(sizes)} tensors of codes, got {len(codes)}")
    for given, size in zip(codes, sizes, strict=True):
        if given.is_floating_point() or given.ndim != 4:
            raise InputError(f"expected codes as integers (B, t, h, w), got {given.dtype} {tuple(given.shape)}")
        if given.numel() and not 0 <= int(given.min()) <= int(given.max()) < size:
            raise InputError(f"codes from {int(given.min())} to {int(given.max())}: allowed are 0 to {size - 1}")


def rows_of(x: Tensor) -> Tensor:
    """`(B, C, t, h, w)` as rows `(B*t*h*w, C)`."""
    return x.permute(0, 2, 3, 4, 1).reshape(-1, x.shape[1])


def like(rows: Tensor, x: Tensor) -> Tensor:
    """Rows back to the grid of `x`, with as many channels as they have."""
    return rows.view(x.shape[0], *x.shape[2:], rows.shape[-1]).permute(0, 4, 1, 2, 3)


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """`quantized`, whose gradient passes to `x` unchanged (Bengio et al., arXiv:1308.3432)."""
    return x + (quantized - x).detach()
