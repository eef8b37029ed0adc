"""Allegro equals diffusers' at the same random weights: its parts untiled, its tiled whole on one tile."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLAllegro
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    noise,
    ours_of,
    randomise,
    unclamped,
)
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.errors import ModelError
from vidlatent.testing import assert_streams_exactly
from vidlatent.testing.streams import ALL_AXES

NARROW = {"block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4, "layers_per_block": 1}
STREAMED = {"widths": (2, 2), "downsample": (False, True), "upsample": (True, False), "groups": 1, "num_res_blocks": 0}


@torch.no_grad()
def reference(**config: object) -> AutoencoderKLAllegro:
    lists = {  # as a file has them
        "down_block_types": ["AllegroDownBlock3D"] * 4,
        "up_block_types": ["AllegroUpBlock3D"] * 4,
        "temporal_downsample_blocks": [True, True, False, False],
        "temporal_upsample_blocks": [False, True, True, False],
    }
    return randomise(AutoencoderKLAllegro(**{**lists, **config}))


def untiled_moments(theirs: AutoencoderKLAllegro, clip: Tensor) -> Tensor:
    return theirs.quant_conv(theirs.encoder(clip)[0].transpose(0, 1)).transpose(0, 1)[None]


def untiled_video(theirs: AutoencoderKLAllegro, latents: Tensor) -> Tensor:
    return theirs.decoder(theirs.post_quant_conv(latents[0].transpose(0, 1)).transpose(0, 1)[None])


def assert_models_agree(ours: Autoencoder, theirs: AutoencoderKLAllegro, frames: int, tolerance: float) -> None:
    clip, latents = noise(3, frames, 24, 16, dtype=ours.dtype), noise(4, frames // 4, 3, 2, dtype=ours.dtype)
    moments = torch.cat([ours.encode(clip).mean, ours.encode(clip).logvar], 1)
    assert_equal(moments, untiled_moments(theirs, clip), tolerance)
    assert_equal(unclamped(ours, latents), untiled_video(theirs, latents), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 8, 12])
def test_narrow_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference(**NARROW)
    assert_models_agree(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 8])
def test_in_double_only_the_order_of_summation_differs(frames: int, tmp_path: Path) -> None:
    theirs = reference(**NARROW).double()
    assert_models_agree(ours_of(theirs, tmp_path), theirs, frames, 1e-12)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference()
    assert_models_agree(ours_of(theirs, tmp_path), theirs, 4, 1e-5)


@torch.no_grad()
def test_their_tiled_whole_is_equal_on_a_clip_of_one_tile(tmp_path: Path) -> None:
    theirs = reference(**NARROW, sample_size=128)
    theirs.use_tiling = True
    ours, clip = ours_of(theirs, tmp_path), noise(3, 24, 128, 128)
    assert_equal(ours.encode(clip).mean, theirs.encode(clip).latent_dist.mean, 1e-5)
    latents = noise(4, 6, 16, 16)
    assert_equal(unclamped(ours, latents), theirs.decode(latents).sample.transpose(1, 2), 1e-5)


@torch.no_grad()
def test_other_steps_are_equal(tmp_path: Path) -> None:
    steps = {"temporal_downsample_blocks": [False, True, True], "temporal_upsample_blocks": [True, False, True]}
    changes = {"block_out_channels": [8, 16, 16], "down_block_types": ["AllegroDownBlock3D"] * 3}
    theirs = reference(**{**NARROW, **steps, **changes, "up_block_types": ["AllegroUpBlock3D"] * 3})
    ours, clip = ours_of(theirs, tmp_path), noise(3, 8, 8, 8)
    assert ours.latent_spec.stride == (4, 4, 4)
    assert_equal(ours.encode(clip).mean, untiled_moments(theirs, clip)[:, :4], 1e-5)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(**NARROW, scaling_factor=0.25), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLAllegro, "allegro", CATALOG["allegro"].config)


def test_latents_are_scaled_as_their_pipeline_does() -> None:
    ae, latents = build("allegro", **STREAMED), noise(4, 1, 2, 2)
    torch.testing.assert_close(ae.normalize(latents), latents * 0.13)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly_in_double(axes: tuple[int, ...]) -> None:
    ae = build("allegro", **STREAMED).double()
    assert ae.exactness == "with barrier"
    # on two axes a slab passes the whole tree for each of its barriers, along either axis: few slabs are enough
    frames, rows, partitions = (5, 5, 4) if len(axes) == 1 else (3, 4, 1)
    assert_streams_exactly(ae.encoder, noise(3, frames, rows, 3, dtype=torch.double), [axes], partitions=partitions)
    assert_streams_exactly(ae.decoder, noise(4, 2, rows - 2, 2, dtype=torch.double), [axes], partitions=partitions)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 8, 17), (6, 25, 7)])
def test_any_clip_comes_back_in_its_own_shape(shape: tuple[int, int, int]) -> None:
    ae = build("allegro", **STREAMED)
    posterior = ae.encode(noise(3, *shape))
    assert posterior.mean.shape[2] == -(-shape[0] // 2)
    assert ae.decode(posterior.mean, num_frames=shape[0], size=shape[1:]).shape == (1, 3, *shape)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"downsample": (True, False, False, False)}, "as many steps"),
        ({"widths": (8, 8)}, "an entry for each level"),
        ({"groups": 5}, "do not divide into 5 groups"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("allegro", **fields)


def test_what_is_not_supported_is_refused() -> None:
    with pytest.raises(ModelError, match="act_fn is 'gelu', only 'silu'"):
        adapter("allegro").read_config({"act_fn": "gelu"}, "config.json")
