"""LeanVAE as its authors store it (github.com/westlake-repl/LeanVAE): weights, and arguments beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from vidlatent.autoencoders.lean_vae.model import LeanVAEConfig
from vidlatent.autoencoders.links import Link, Shape
from vidlatent.autoencoders.published import Naming, Published, no_folder
from vidlatent.autoencoders.renaming import rename

_PARTS = ("encoder.", "decoder.", "latent_bottleneck.", "std_layer.")
_BOTTLENECK = "latent_bottleneck"
_RULES = (
    (r"^encoder\.moments\.branches\.0\.weight", f"{_BOTTLENECK}.phi"),
    (r"^encoder\.moments\.branches\.1", "std_layer"),
    (r"^decoder\.start\.branches\.0\.weight", f"{_BOTTLENECK}.Q"),
    (r"^decoder\.steps\.\d+\.descend\.phi", f"{_BOTTLENECK}.phi"),
    (r"^decoder\.steps\.(\d+)\.descend\.weight", rf"{_BOTTLENECK}.weights.\1"),
    (r"^decoder\.steps\.(\d+)\.change\.branches\.0\.body\.threshold\.threshold", rf"{_BOTTLENECK}.threshold.\1"),
    (r"^decoder\.steps\.(\d+)\.change\.branches\.0\.body\.there", rf"{_BOTTLENECK}.forward_l.\1"),
    (r"^decoder\.steps\.(\d+)\.change\.branches\.0\.body\.back", rf"{_BOTTLENECK}.backward_l.\1"),
    (r"\.joint\.", ".fusion_layer."),
    (r"\.apart\.branches\.0\.1\.", ".low_layer."),
    (r"\.apart\.branches\.1\.1\.", ".high_layer."),
    (r"^encoder\.patch\.2\.branches\.0\.first\.2", "encoder.image_low_proj.1"),
    (r"^encoder\.patch\.2\.branches\.1\.first\.2", "encoder.image_high_proj.1"),
    (r"^encoder\.patch\.2\.branches\.0\.rest\.1", "encoder.video_low_proj.1"),
    (r"^encoder\.patch\.2\.branches\.1\.rest\.1", "encoder.video_high_proj.1"),
    (r"^decoder\.unpatch\.0\.branches\.0\.1\.first\.0\.0", "decoder.image_low_proj.0"),
    (r"^decoder\.unpatch\.0\.branches\.1\.1\.first\.0\.0", "decoder.image_high_proj.0"),
    (r"^decoder\.unpatch\.0\.branches\.0\.1\.rest\.0", "decoder.video_low_proj.0"),
    (r"^decoder\.unpatch\.0\.branches\.1\.1\.rest\.0", "decoder.video_high_proj.0"),
)
_LAYER = r"(_layer|_l\.\d+)\.(\d+)\.(?:body\.)?(?:(\d)\.)?(weight|bias)$"
_FORWARD = {"0": "0", "1": "1", "3": "4"}
"""Places of the norm and the projections in a feed-forward layer; they have a dropout besides."""


def _unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Training keeps discriminators beside the autoencoder."""
    if f"{_BOTTLENECK}.phi" not in tensors:
        return {}, tensors
    return {}, {name: tensor for name, tensor in tensors.items() if name.startswith(_PARTS)}


def _links(config: LeanVAEConfig, shapes: Mapping[str, Shape], naming: Naming) -> list[Link]:  # noqa: ARG001
    return list(_each(shapes))


def _each(shapes: Mapping[str, Shape]) -> Iterator[Link]:
    for ours, shape in shapes.items():
        theirs = re.sub(_LAYER, _layer, rename(ours, _RULES))
        pointwise = len(shape) == 5 and shape[2:] == (1, 1, 1)
        yield Link(ours, theirs, shape[:2] if pointwise else shape)


def _layer(match: re.Match[str]) -> str:
    """Convolutions and feed-forward layers take turns here, and are lists of their own there."""
    side, index, part, tensor = match.groups()
    layer = int(index) // 2
    if int(index) % 2 == 0:
        return f"{side}.dconv_layer.{layer}.ds_conv.{tensor}"
    return f"{side}.ffd_layer.{layer}.{_FORWARD[part]}.{tensor}"


LEAN_VAE = Published("", no_folder("LeanVAE"), no_folder("LeanVAE"), _links, _unpack, namings=("original",))
