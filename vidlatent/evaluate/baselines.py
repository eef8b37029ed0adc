"""Codes that need no training, so that a number means something: video codecs, the optimal linear code, bicubic."""

from __future__ import annotations

import tempfile
import time
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
INT8 = "int8"
_FPS = Fraction(24)
_LARGEST_PATCH = 4096
_RAW_BITS = 8


class Codec:
    """A video codec at the quality whose file is nearest to so many bits per pixel, its container included.

    As `VideoWriter` writes it: 4:2:0, encoder's usual settings, constant quality found by bisection. `tried` holds what
    it has written of this clip by quality, for a search at another rate to find there.
    """

    grid: Grid | None = None

    def __init__(self, name: CodecName, bits_per_pixel: float, tried: dict[int, Code] | None = None) -> None:
        self._name, self._target, self._tried = name, bits_per_pixel, {} if tried is None else tried

    def encode(self, frames: Iterable[Tensor], shape: Shape) -> Code:
        clip = torch.cat(list(frames))
        wanted, low, high = self._target * shape.pixels, 0, CODECS[self._name]
        while low <= high:
            crf = (low + high) // 2
            if crf not in self._tried:
                self._tried[crf] = self._written(clip, shape, crf)
            low, high = (crf + 1, high) if self._tried[crf].bits > wanted else (low, crf - 1)
        return min(self._tried.values(), key=lambda code: abs(code.bits - wanted))

    def _written(self, clip: Tensor, shape: Shape, crf: int) -> Code:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mkv"
            with VideoWriter(path, fps=_FPS, codec=self._name, crf=crf, num_threads=1) as writer:
                writer.write(clip)
            data = path.read_bytes()
        took = time.perf_counter() - began
        return Code(shape, shape.pixels * 3, len(data) * 8, payload=data, note=f"crf {crf}", seconds=took)

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
        parts = [self._pca.encode(video, first=first) for video, first in patch_runs(frames, self._pca.patch)]
        latents = torch.cat(parts, 2)
        return Code(shape, latents.numel(), latents.numel() * 16, latents)

    def decode(self, code: Code) -> Iterator[Tensor]:
        assert code.latents is not None
        left = code.shape.frames
        for index, latents in enumerate(code.latents.split(1, 2)):
            video = self._pca.decode(latents, first=index == 0)[:, :, :left, : code.shape.height, : code.shape.width]
            left -= video.shape[2]
            yield to_uint8(video)


def fit_pca(clips: Iterable[Iterable[Tensor]], patch: tuple[int, int, int], components: int) -> PatchPCA:
    """Fit to clips that come as runs of frames, uint8 (T, H, W, 3). Raises `InputError` for patches too large."""
    if 3 * patch[0] * patch[1] * patch[2] > _LARGEST_PATCH:
        raise InputError(f"PCA of patches {patch} has {3 * patch[0] * patch[1] * patch[2]} dimensions: too many to fit")
    pca = PatchPCA(patch, components)
    for frames in clips:
        for video, first in patch_runs(frames, patch):
            pca.add(video, first=first)
    return pca.solve()


def patch_runs(frames: Iterable[Tensor], patch: tuple[int, int, int]) -> Iterator[tuple[Tensor, bool]]:
    """A clip's first frame, then runs of t, as (1, 3, T, H, W) that fit patches; and which of them is the first.

    The last frame, row and column are repeated where they must be.
    """
    held, size, first = torch.empty(0), 1, True
    for slab in frames:
        held = torch.cat([held, slab]) if len(held) else slab
        while len(held) >= size:
            yield _padded(to_float(held[:size]), size, patch), first
            held, size, first = held[size:], patch[0], False
    if len(held):
        yield _padded(to_float(held), size, patch), first


def _padded(video: Tensor, frames: int, patch: tuple[int, int, int]) -> Tensor:
    T, H, W = video.shape[2:]
    more = (frames - T, -H % patch[1], -W % patch[2])
    if not any(more):
        return video
    return torch.nn.functional.pad(video, (0, more[2], 0, more[1], 0, more[0]), mode="replicate")


def split_name(text: str) -> tuple[str, float | str | None]:
    """A baseline as written, "h264", "h264@0.5" or "h264@int8": its kind, and a number or `INT8` if there is one.

    Raises `InputError` for anything else.
    """
    kind, _, number = text.partition("@")
    if kind in CODECS and number == INT8:
        return kind, INT8
    try:
        value = float(number) if number else None
    except ValueError:
        value = -1.0
    if kind not in (*CODECS, "pca", "bicubic") or (value is not None and (value <= 0 or kind == "pca")):
        known = ", ".join((*CODECS, "pca", "bicubic"))
        raise InputError(
            f"baseline {text!r}: expected one of {known}; codecs may say bits per pixel as h264@0.5, or h264@int8 for "
            "those of latents before entropy coding, bicubic its factor as bicubic@4"
        )
    return kind, value


def as_codec(kind: str) -> CodecName:
    """A codec's name that is known to be one."""
    assert kind in CODECS
    return cast("CodecName", kind)
