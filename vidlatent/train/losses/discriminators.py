"""PatchGAN discriminators (Isola et al., arXiv:1611.07004): a logit per patch, of frames or of stretches of a clip.

Group norms stand in for the batch norms of the original, so that a logit depends on its own clip alone.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import pad

_GROUPS, _WIDEST = 8, 8


class PatchDiscriminator(nn.Module):
    """Strided convolutions, each halving rows and columns (in "3d" every second one also frames), then one logit each.

    "2d" sees every frame by itself. `depth` strided layers see patches of 16 (1), 34 (2), 70 (3) pixels a side.
    """

    def __init__(self, dims: Literal["2d", "3d"] = "2d", *, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.dims = dims
        layers: list[nn.Module] = [self._conv(3, width, index=0, padded=True), nn.LeakyReLU(0.2)]
        before = width
        for index in range(1, depth + 1):
            after, stride = width * min(2**index, _WIDEST), 2 if index < depth else 1
            layers += [self._conv(before, after, index=index, stride=stride)]
            layers += [nn.GroupNorm(min(_GROUPS, after), after), nn.LeakyReLU(0.2)]
            before = after
        self.layers = nn.Sequential(*layers, self._conv(before, 1, index=0, stride=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def _conv(self, before: int, after: int, *, index: int, stride: int = 2, padded: bool = False) -> nn.Module:
        if self.dims == "2d":
            return nn.Conv2d(before, after, 4, stride, 1)
        in_time = stride if index % 2 else 1
        return nn.Conv3d(before, after, (3, 4, 4), (in_time, stride, stride), (0 if padded else 1, 1, 1))

    def forward(self, video: Tensor) -> Tensor:
        """Logits of clips (B, 3, T, H, W)."""
        if self.dims == "3d":
            # In bfloat16 a convolution that pads one frame of 3 channels reads unwritten memory (CPUs, torch 2.13).
            return self.layers(pad(video, (0, 0, 0, 0, 1, 1)).contiguous())
        return self.layers(video.transpose(1, 2).flatten(0, 1).contiguous())


def last_layer(module: nn.Module) -> Tensor | None:
    """The weight that a tree applies last: its last weight of two or more dimensions, if that is being trained."""
    weights = [weight for weight in module.parameters() if weight.ndim > 1]
    return weights[-1] if weights and weights[-1].requires_grad else None


def frozen(module: nn.Module, video: Tensor) -> Tensor:
    """The answer of `module` with gradients to its input alone."""
    needed = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in needed:
        weight.requires_grad_(False)
    try:
        return module(video)
    finally:
        for weight in needed:
            weight.requires_grad_(True)
