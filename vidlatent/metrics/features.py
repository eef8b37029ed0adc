"""Video features for `FVD`: published classifiers from local files, and random ones that need no file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidlatent.errors import InputError, MissingDependency, ModelError

_SIDE = 224


def load_extractor(name: str, weights: str | os.PathLike[str] | None = None) -> Any:
    """An `Extractor`: "i3d" (a TorchScript file), "videomae" (a folder), or "random", which needs no file.

    Raises `ModelError` for missing or wrong files, `MissingDependency` without transformers.
    """
    if name == "random":
        return RandomFeatures()
    if name not in ("i3d", "videomae"):
        raise InputError(f"features {name!r}: expected i3d, videomae or random")
    if weights is None:
        raise ModelError(f"{name} needs local weights, and nothing is downloaded: name the file or folder")
    return I3D(weights) if name == "i3d" else VideoMAE(weights)


class I3D:
    """The 400 logits of I3D on Kinetics, as FVD is defined, from the TorchScript file that StyleGAN-V made common.

    Frames are scaled to 224x224. A TorchScript file is a program: take it only from whom you trust.
    """

    name, num_frames = "i3d", 16

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not Path(path).is_file():
            raise ModelError(f"{path}: no such file: I3D is a local TorchScript file, such as i3d_torchscript.pt")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._model = torch.jit.load(str(path), map_location="cpu").eval()
        except RuntimeError as error:
            raise ModelError(f"{path}: not a TorchScript file ({str(error).splitlines()[0]})") from error

    def __call__(self, video: Tensor) -> Tensor:
        """Features (B, 400) of clips (B, 3, 16, H, W) in [-1, 1]."""
        return self._model(_square(video), rescale=False, resize=False, return_features=True)


class VideoMAE:
    """The mean of VideoMAE's last tokens, from a local transformers folder; keeps time better than I3D's logits."""

    name = "videomae"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ModelError(f"{folder}: not a transformers folder: it holds no config.json")
        try:
            from transformers import VideoMAEModel
        except ImportError as error:
            raise MissingDependency("transformers", "evaluate") from error
        try:
            self._model = VideoMAEModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: not a VideoMAE model ({str(error).splitlines()[0]})") from error
        self.num_frames = int(self._model.config.num_frames)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as its processor has them
        self._mean, self._std = (torch.tensor(values).view(3, 1, 1, 1) for values in (mean, std))

    def __call__(self, video: Tensor) -> Tensor:
        """Features (B, d) of clips (B, 3, num_frames, H, W) in [-1, 1]."""
        normal = ((_square(video, self._model.config.image_size) + 1) / 2 - self._mean) / self._std
        return self._model(normal.transpose(1, 2)).last_hidden_state.mean(1)


class RandomFeatures:
    """Features of a small random network of 3-D convolutions, always the same one.

    For comparing runs with each other where no weights are at hand; it is not FVD, and its numbers compare with none.
    """

    name, num_frames = "random", 16
    _WIDTHS = (3, 32, 64, 128)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._layers = nn.ModuleList()
        for given, made in zip(self._WIDTHS, self._WIDTHS[1:], strict=False):
            layer = nn.Conv3d(given, made, 3, stride=2, padding=1, bias=False).requires_grad_(False)
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / (27 * given)) ** 0.5)
            self._layers.append(layer)

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """Features (B, 256), means and spreads of 128 maps, of clips (B, 3, 16, H, W) in [-1, 1]."""
        maps = _square(video, 64)
        for layer in self._layers:
            maps = layer(maps).relu()
        return torch.cat([maps.mean((2, 3, 4)), maps.std((2, 3, 4))], 1)


def _square(video: Tensor, side: int = _SIDE) -> Tensor:
    frames = video.float().transpose(1, 2).flatten(0, 1)
    scaled = interpolate(frames, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return scaled.unflatten(0, (len(video), video.shape[2])).transpose(1, 2).contiguous()
