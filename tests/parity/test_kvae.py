"""KVAE equals diffusers' at the same random weights, where a clip is one chunk there."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLKVAEVideo
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
from vidlatent.errors import ModelError
from vidlatent.testing import relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"base": 32, "multipliers": (1, 1), "num_res_blocks": 1, "latent_channels": 2, "time_stride": 2}


def reference(**config: object) -> AutoencoderKLKVAEVideo:
    values = {"ch": 32, "ch_mult": [1, 1, 2, 2], "num_res_blocks": 1, **config}
    with torch.no_grad():
        return randomise(AutoencoderKLKVAEVideo(**values))


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLKVAEVideo, frames: int, tolerance: float, *, size: int = 8
) -> None:
    clip = noise(3, frames, size, 2 * size, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist.mean
    assert posterior.logvar is None
    assert_equal(posterior.mean, want, tolerance)
    assert_equal(unclamped(ours, want), theirs.decode(want).sample, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 17])
def test_models_are_equal_where_a_clip_is_one_chunk(frames: int, tmp_path: Path) -> None:
    theirs = reference()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
def test_longer_clips_are_another_matter_there(tmp_path: Path) -> None:
    theirs = reference(ch_mult=[1, 1], temporal_compress_times=2)
    ours, clip = ours_of(theirs, tmp_path), noise(3, 19, 8, 8)
    assert relative_error(ours.encode(clip).mean, theirs.encode(clip).latent_dist.mean) > 0.01
    assert_equal(ours.encode(clip).mean, theirs._encode(clip, seg_len=18), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 8])
def test_other_temporal_strides_are_equal(stride: int, tmp_path: Path) -> None:
    theirs = reference(temporal_compress_times=stride, ch_mult=[1, 1, 1, 1])
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(ch=128, ch_mult=[1, 2, 4, 8], num_res_blocks=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(ch_mult=[1, 1, 2]).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("kvae-1", **NARROW), (3, 4, 2), (2, 3, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("kvae-1", **NARROW)
    posterior = assert_any_clip_comes_back(ae, 6, (4, 5, 7))
    assert torch.equal(ae.normalize(posterior.mean), posterior.mean)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(ch_mult=[1, 1, 2], z_channels=3), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLKVAEVideo, "kvae", CATALOG["kvae-1"].config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"multipliers": ()}, "must be at least 1"),
        ({"base": 48}, "base is 48, norms need a multiple of 32"),
        ({"time_stride": 16}, "time_stride is 16, 4 levels allow \\[1, 2, 4, 8\\]"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("kvae-1", **fields)
