"""Perceptual distance of pictures: LPIPS with local weights, and a distance that needs none.

LPIPS sums over layers l of an image classifier, with unit-normalised features y and learned channel weights w >= 0,

    d(x, x0) = sum_l 1/(H_l W_l) sum_hw sum_c w_lc (y_lchw - y0_lchw)^2

(Zhang et al. 2018, arXiv:1801.03924, version 0.1). The distance without weights compares Laplacian pyramids whose bands
are divided by their local amplitude, after Laparra et al. 2016 (doi:10.2352/ISSN.2470-1173.2016.16.HVEI-103): it is not
LPIPS, its scale differs, and whatever prints it must call it by its `name`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from vidlatent.errors import InputError, ModelError
from vidlatent.metrics.accumulator import Accumulator, check_clips
from vidlatent.metrics.weight_files import PathLike, read_weights

Net = Literal["vgg", "alex"]

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_SMALLEST_SIDE = 32
_HEAD = re.compile(r"(?:.*\.)?lins?\.?(\d)\.(?:model\.1\.)?weight")
_TRUNK = re.compile(r"(?:features|(?:.*\.)?net\.slice\d|(?:.*\.)?slice\d)\.(\d+)\.(weight|bias)")


class PerceptualDistance(nn.Module):
    """How different pictures look, differentiable; smaller is closer, 0 for equal ones.

    Args:
        net: The classifier, "vgg" (16 layers) or "alex".
        weights: Local files with torchvision's weights of that classifier (`features.N.weight`) and LPIPS's heads
            (`linN.model.1.weight`): one file with both, a list of files, or a folder. None takes the distance that
            needs no weights, which is not LPIPS.

    `name` says which distance this is. Raises `ModelError` for files that are missing or not these weights.
    """

    def __init__(self, net: Net = "vgg", weights: PathLike | Sequence[PathLike] | None = None) -> None:
        super().__init__()
        if net not in _TRUNKS:
            raise InputError(f"net={net!r}: expected one of {', '.join(map(repr, _TRUNKS))}")
        self.name = "laplacian" if weights is None else f"lpips-{net}"
        self.distance: nn.Module = _NormalizedLaplacian() if weights is None else _Lpips(net, read_weights(weights))
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (B,) of pictures (B, 3, H, W), or of clips (B, 3, T, H, W) as means over frames, in [-1, 1].

        Raises `InputError` for other shapes and for pictures smaller than 32x32.
        """
        if x.shape != y.shape or x.ndim not in (4, 5) or x.shape[1] != 3 or min(x.shape[-2:]) < _SMALLEST_SIDE:
            raise InputError(
                f"expected two (B, 3, H, W) or (B, 3, T, H, W) of one shape, H and W at least {_SMALLEST_SIDE}, "
                f"got {tuple(x.shape)}, {tuple(y.shape)}"
            )
        if x.ndim == 4:
            return self.distance(x, y)
        return self.of_frames(x, y).mean(1)

    def of_frames(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (B, T) of the frames of clips (B, 3, T, H, W); without gradients a frame at a time."""
        if not torch.is_grad_enabled():
            return torch.stack([self.distance(a, b) for a, b in zip(x.unbind(2), y.unbind(2), strict=True)], 1)
        frames = (clip.transpose(1, 2).flatten(0, 1) for clip in (x, y))
        return self.distance(*frames).unflatten(0, (x.shape[0], x.shape[2]))


class _Lpips(nn.Module):
    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.features, self.taps, widths = _TRUNKS[net]()
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        for level, width in enumerate(widths):
            self.register_buffer(f"head{level}", torch.empty(1, width, 1, 1))
        self._load(net, weights)

    def _load(self, net: Net, weights: dict[str, Tensor]) -> None:
        found: dict[str, Tensor] = {"shift": self.shift, "scale": self.scale}
        for name, tensor in weights.items():
            if head := _HEAD.fullmatch(name):
                found[f"head{head[1]}"] = tensor
            elif trunk := _TRUNK.fullmatch(name):
                found[f"features.{trunk[1]}.{trunk[2]}"] = tensor
        wanted = self.state_dict()
        missing = sorted(name for name, tensor in wanted.items() if name not in found)
        if missing:
            needed = "torchvision's classifier (features.N.weight) and LPIPS's heads (linN.model.1.weight)"
            raise ModelError(f"LPIPS with {net} needs {needed}; these files lack {missing[0]}, {len(missing)} in all")
        for name, tensor in wanted.items():
            if found[name].shape != tensor.shape:
                given, allowed = tuple(found[name].shape), tuple(tensor.shape)
                raise ModelError(f"LPIPS with {net}: {name} is {given}, expected {allowed}: weights of another network")
        self.load_state_dict({name: found[name] for name in wanted})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(len(x), device=x.device)
        pictures = [(picture.float() - self.shift) / self.scale for picture in (x, y)]
        for index, layer in enumerate(self.features):
            pictures = [layer(picture) for picture in pictures]
            if index in self.taps:
                head = getattr(self, f"head{self.taps.index(index)}")
                a, b = (_unit(picture) for picture in pictures)
                total = total + ((a - b).square() * head).sum(1).mean((1, 2))
        return total


def _unit(features: Tensor) -> Tensor:
    # The small number under the root keeps the gradient finite where all features are zero.
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _vgg() -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """VGG-16 up to relu5_3, numbered as torchvision numbers it."""
    layers: list[nn.Module] = []
    taps: list[int] = []
    widths, channels = (64, 128, 256, 512, 512), 3
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        if taps:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        taps.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(taps), widths


def _alex() -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """AlexNet up to relu5, numbered as torchvision numbers it."""
    layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers), (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)


_TRUNKS = {"vgg": _vgg, "alex": _alex}


class _NormalizedLaplacian(nn.Module):
    """Mean squared difference of Laplacian bands, each divided by its own local amplitude."""

    _LEVELS, _FLOOR = 4, 0.1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        levels = zip(self._bands(x.float()), self._bands(y.float()), strict=True)
        return torch.stack([(a - b).square().mean((1, 2, 3)) for a, b in levels]).mean(0)

    def _bands(self, picture: Tensor) -> list[Tensor]:
        bands = []
        for _ in range(self._LEVELS):
            coarse = avg_pool2d(picture, 2, ceil_mode=True)
            band = picture - interpolate(coarse, picture.shape[-2:], mode="bilinear", align_corners=False)
            amplitude = avg_pool2d(band.abs(), 5, 1, 2, count_include_pad=False)
            bands.append(band / (amplitude + self._FLOOR))
            picture = coarse
        return [*bands, picture]


def lpips(
    got: Tensor, want: Tensor, *, net: Net = "vgg", weights: PathLike | Sequence[PathLike] | None = None
) -> float:
    """Perceptual distance of clips (B, 3, T, H, W) in [-1, 1], the mean over frames; see `PerceptualDistance`."""
    measure = LPIPS(PerceptualDistance(net, weights))
    measure.update(got, want)
    return measure.compute()


class LPIPS(Accumulator):
    """Perceptual distance of clips that come in slabs, by a `PerceptualDistance` (not part of the state)."""

    def __init__(self, distance: PerceptualDistance | None = None) -> None:
        self._distance = distance or PerceptualDistance()
        super().__init__(distance=self._distance.name)

    @torch.no_grad()
    def update(self, got: Tensor, want: Tensor) -> Tensor:
        """Take in clips (B, 3, T, H, W) in [-1, 1] and return the distances of their frames (B, T)."""
        check_clips(got, want)
        frames = self._distance.of_frames(got, want)
        self._add("sum", float(frames.double().sum()))
        self._add("frames", frames.numel())
        return frames

    def compute(self) -> float:
        """Mean over all frames so far. Raises `InputError` if there are none."""
        return self._mean("sum", "frames")
