"""Codes that need no training, so that a number means something: video codecs, the optimal linear code, bicubic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidlatent.errors import InputError, VideoError
from vidlatent.evaluate.candidate import Code, Grid, Shape
from vidlatent.io import VideoWriter, open_video, to_float, to_uint8
from vidlatent.metrics import PatchPCA

CodecName = Literal["h264", "h265", "av1"]
CODECS: dict[str, int] = {"h264": 51, "h265": 51, "av1": 63}
_FPS = Fraction(24)
_LARGEST_PATCH = 4096
_RAW_BITS = 8


class Codec:
    """A video codec at the quality whose file is nearest to so many bits per pixel, its container included.

    As `VideoWriter` writes it: 4:2:0, encoder's usual settings, constant quality found by bisection.
    """

    grid: Grid | None = None

    def __init__(self, name: CodecName, bits_per_pixel: float) -> None:
        self._name, self._target = name, bits_per_pixel

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        clip = torch.cat(list(frames))
        wanted, low, high = self._target * shape.pixels, 0, CODECS[self._name]
        tried: dict[int, bytes] = {}
        while low <= high:
            crf = (low + high) // 2
            tried[crf] = self._written(clip, crf)
            low, high = (crf + 1, high) if len(tried[crf]) * 8 > wanted else (low, crf - 1)
        crf, data = min(tried.items(), key=lambda item: abs(len(item[1]) * 8 - wanted))
        return Code(shape, shape.pixels * 3, len(data) * 8, payload=data, note=f"crf {crf}")

    def _written(self, clip: Tensor, crf: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mkv"
            with VideoWriter(path, fps=_FPS, codec=self._name, crf=crf, num_threads=1) as writer:
                writer.write(clip)
            return path.read_bytes()

    def decode(self, code: Code) -> Iterator[Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mkv"
            path.write_bytes(code.payload)
            with open_video(path, num_threads=1) as source:
                if (source.height, source.width) != (code.shape.height, code.shape.width):
                    raise VideoError(self._name, f"gave frames of {source.width}x{source.height}")
                for clip in source:
                    yield clip.frames


class Bicubic:
    """Frames made smaller by `factor` and larger again, with antialiased bicubic interpolation."""

    grid: Grid | None = None

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        size = [max(1, round(side / self._factor)) for side in (shape.height, shape.width)]
        small = torch.cat([_resized(slab, size) for slab in frames])
        return Code(shape, small.numel(), small.numel() * _RAW_BITS, payload=small, note=f"to {size[1]}x{size[0]}")

    def decode(self, code: Code) -> Iterator[Tensor]:
        for slab in code.payload.split(8):
            yield _resized(slab, [code.shape.height, code.shape.width])


def _resized(frames: Tensor, size: list[int]) -> Tensor:
    planes = interpolate(frames.permute(0, 3, 1, 2).float(), size, mode="bicubic", antialias=True)
    return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class LinearCode:
    """The principal components of patches, fitted beforehand; sizes that do not fit are padded by repetition."""

    def __init__(self, pca: PatchPCA) -> None:
        self._pca, (t, h, w) = pca, pca.patch
        self.grid: Grid | None = Grid(t, "single", (t, h, w), 1)

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        video = padded(to_float(torch.cat(list(frames))), self._pca.patch)
        latents = self._pca.encode(video)
        return Code(shape, latents.numel(), latents.numel() * 16, latents)

    def decode(self, code: Code) -> Iterator[Tensor]:
        assert code.latents is not None
        video = self._pca.decode(code.latents)[:, :, : code.shape.frames, : code.shape.height, : code.shape.width]
        yield to_uint8(video)


def fit_pca(clips: Iterable[Iterable[Tensor]], patch: tuple[int, int, int], components: int) -> PatchPCA:
    """Fit to clips that come as runs of frames, uint8 (T, H, W, 3). Raises `InputError` for patches too large."""
    if 3 * patch[0] * patch[1] * patch[2] > _LARGEST_PATCH:
        raise InputError(f"PCA of patches {patch} has {3 * patch[0] * patch[1] * patch[2]} dimensions: too many to fit")
    pca = PatchPCA(patch, components)
    for frames in clips:
        pca.add(padded(to_float(torch.cat(list(frames))), patch))
    return pca.solve()


def padded(video: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """A clip (1, 3, T, H, W) made to fit patches, T = 1 + k t, by repeating the last frame, row and column."""
    T, H, W = video.shape[2:]
    more = ((1 - T) % patch[0], -H % patch[1], -W % patch[2])
    if not any(more):
        return video
    return torch.nn.functional.pad(video, (0, more[2], 0, more[1], 0, more[0]), mode="replicate")


def split_name(text: str) -> tuple[str, float | None]:
    """A baseline as written, "h264" or "h264@0.5": its kind and the number. Raises `InputError` for anything else."""
    kind, _, number = text.partition("@")
    try:
        value = float(number) if number else None
    except ValueError:
        value = -1.0
    if kind not in (*CODECS, "pca", "bicubic") or (value is not None and (value <= 0 or kind == "pca")):
        known = ", ".join((*CODECS, "pca", "bicubic"))
        raise InputError(
            f"baseline {text!r}: expected one of {known}; codecs may say bits per pixel as h264@0.5, bicubic its "
            "factor as bicubic@4"
        )
    return kind, value


def as_codec(kind: str) -> CodecName:
    """A codec's name that is known to be one."""
    assert kind in CODECS
    return cast("CodecName", kind)
