"""Linear attention over the whole clip."""

from __future__ import annotations

from torch import Tensor

from vidlatent.nn.linear_attention import LinearAttention
from vidlatent.streaming import H, T


class ClipLinearAttention(LinearAttention):
    """`LinearAttention` among all positions of all frames: a barrier along T and H, of which as little is noted."""

    def __init__(self, head_dim: int, *, eps: float = 1e-15) -> None:
        super().__init__(head_dim, eps=eps)
        self.axes = (T, H)

    def note(self, x: Tensor) -> list[Tensor]:
        """Sums over frames and positions: `(B, 1, heads, head_dim + 1, head_dim)`."""
        return [super().note(x)[0].sum(1, keepdim=True)]
