"""EasyAnimate's autoencoder equals diffusers' at the same random weights."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLMagvit
from family_checks import (
    assert_any_clip_comes_back,
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    assert_trees_stream,
    noise,
    ours_of,
    randomise,
    unclamped,
)

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

NARROW = {"widths": (2, 4, 4), "groups": 2, "num_res_blocks": 1, "latent_channels": 3}


def reference(*widths: int, **config: object) -> AutoencoderKLMagvit:
    values = {"norm_num_groups": 4, "layers_per_block": 1, **config}
    kinds = [f"{kind}{{}}Block3D" for kind in ["Spatial", *["SpatialTemporal"] * (len(widths) - 1)]]
    blocks = {f"{way.lower()}_block_types": [kind.format(way) for kind in kinds] for way in ("Down", "Up")}
    with torch.no_grad():
        return randomise(AutoencoderKLMagvit(block_out_channels=list(widths), **blocks, **values))


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLMagvit, frames: int, tolerance: float, *, size: int = 16
) -> None:
    clip = noise(3, frames, size, size + 8, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist.parameters
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, tolerance)
    latents = want.chunk(2, 1)[0]
    assert_equal(unclamped(ours, latents), theirs.decode(latents).sample, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 13])
def test_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference(8, 12, 16, 16)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
def test_other_numbers_of_levels_are_equal(tmp_path: Path) -> None:
    theirs = reference(8, 8, 12, layers_per_block=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(128, 256, 512, 512, norm_num_groups=32, layers_per_block=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5, size=32)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(4, 8, 8, 8).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("easyanimate-5", **NARROW), (4, 7, 4), (3, 3, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("easyanimate-5", **NARROW)
    posterior = assert_any_clip_comes_back(ae, 6, (4, 3, 4))
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 0.7125)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(8, 8, 8, scaling_factor=0.5, latent_channels=2), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLMagvit, "magvit", CATALOG["easyanimate-5"].config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": (32,)}, "widths needs 2 entries"),
        ({"widths": (32, 32, 48)}, "widths \\[48\\] do not divide into 32 groups"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("easyanimate-5", **fields)


@pytest.mark.parametrize(
    ("key", "value"), [("spatial_group_norm", False), ("down_block_types", ["SpatialDownBlock3D"] * 4)]
)
def test_other_architectures_are_refused(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"{key} is .* only .* is supported"):
        adapter("magvit").read_config({key: value}, "config.json")
