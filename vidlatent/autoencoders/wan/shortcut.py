"""Wan 2.2's way around a level: blocks averaged into channels going down, channels spread over blocks going up."""

from __future__ import annotations

from torch import Tensor

from vidlatent.errors import ModelError
from vidlatent.nn import Chain, DepthToSpace, SpaceToDepth, Trim
from vidlatent.nn.channels import GroupMean
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Pointwise, T


class RepeatChannels(Pointwise):
    """Repeat each channel `times` times in a row."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def apply_to(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 4, 1).repeat_interleave(self.times, -1).permute(0, 4, 1, 2, 3)


def average_down(dim_in: int, dim_out: int, factors: Factors) -> Chain:
    """Fold blocks of `factors` (T, H, W) into channels and average them down to `dim_out`.

    The first frame shares its block with zeros in front, so it stays single. Raises `ModelError` where the channels
    do not divide.
    """
    t, h, w = factors
    folded = dim_in * t * h * w
    if folded % dim_out:
        raise ModelError(f"{folded} channels do not average to {dim_out}: change base_dim or multipliers")
    fold = [SpaceToDepth(factors, before=t - 1, mode="zeros")] if t * h * w > 1 else []
    return Chain(*fold, *([GroupMean(folded // dim_out)] if folded > dim_out else []))


def duplicate_up(dim_in: int, dim_out: int, factors: Factors) -> Chain:
    """Repeat channels until they unfold into blocks of `factors` with `dim_out` channels, the first frame single.

    Raises `ModelError` where the channels do not divide.
    """
    t, h, w = factors
    unfolded = dim_out * t * h * w
    if unfolded % dim_in:
        raise ModelError(f"{dim_in} channels do not repeat to {unfolded}: change decoder_base_dim or multipliers")
    repeat = [RepeatChannels(unfolded // dim_in)] if unfolded > dim_in else []
    return Chain(*repeat, DepthToSpace(factors), *([Trim(T, before=t - 1)] if t > 1 else []))
