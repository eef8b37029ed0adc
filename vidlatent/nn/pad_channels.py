"""More channels, of zeros."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vidlatent.streaming import Pointwise


class PadChannels(Pointwise):
    """Zeros behind the channels, until there are `channels`: what adds to the first ones of a branch beside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def apply_to(self, x: Tensor) -> Tensor:
        rows = F.pad(x.permute(0, 2, 3, 4, 1), (0, self.channels - x.shape[1]))
        return rows.permute(0, 4, 1, 2, 3)
