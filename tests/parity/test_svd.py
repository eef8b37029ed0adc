"""Stable Video Diffusion's autoencoder equals diffusers' where a clip is decoded at once."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    assert_trees_stream,
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
from vidlatent.testing import relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"widths": (8, 16), "groups": 4}


def reference(widths: tuple[int, ...] = (32, 64), layers: int = 2) -> AutoencoderKLTemporalDecoder:
    blocks = ("DownEncoderBlock2D",) * len(widths)
    model = AutoencoderKLTemporalDecoder(
        block_out_channels=list(widths), down_block_types=list(blocks), layers_per_block=layers, sample_size=768
    )
    with torch.no_grad():
        return randomise(model)


def decoded(theirs: AutoencoderKLTemporalDecoder, latents: Tensor) -> Tensor:
    frames = latents[0].transpose(0, 1)
    return theirs.decode(frames, num_frames=len(frames)).sample.transpose(0, 1)[None]


def assert_equal_models(ours: Autoencoder, theirs: AutoencoderKLTemporalDecoder, clip: Tensor, limit: float) -> None:
    want = theirs.encode(clip[0].transpose(0, 1)).latent_dist.parameters.transpose(0, 1)[None]
    posterior = ours.encode(clip)
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, limit)
    latents = want.chunk(2, 1)[0]
    assert_equal(unclamped(ours, latents), decoded(theirs, latents), limit)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, frames, 16, 12), 1e-5)


@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference((128, 256, 512, 512))
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 2, 24, 32), 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference().double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 3, 16, 12, dtype=torch.double), 1e-12)


@torch.no_grad()
def test_runs_of_frames_decoded_apart_are_another_answer(tmp_path: Path) -> None:
    theirs, latents = reference(), noise(4, 4, 6, 6)
    apart = torch.cat([decoded(theirs, run) for run in latents.split(2, 2)], 2)
    assert relative_error(apart, decoded(theirs, latents)) > 0.01


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("svd", **NARROW), (3, 9, 6), (3, 4, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("svd", **NARROW)
    posterior = ae.encode(noise(3, 5, 13, 6))
    assert posterior.mean.shape == (1, 4, 5, 7, 3)
    assert ae.decode(posterior.mean, size=posterior.size).shape == (1, 3, 5, 13, 6)
    torch.testing.assert_close(ae.denormalize(posterior.mean), posterior.mean / 0.18215)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLTemporalDecoder, "svd", CATALOG["svd"].config)


def test_what_diffusers_cannot_say_or_leaves_unused_is_refused() -> None:
    with pytest.raises(ModelError, match="layers_per_block is 3, only 2 is supported"):
        adapter("svd").read_config({"layers_per_block": 3}, "config.json")
    with pytest.raises(ModelError, match="has no groups, which is 4 here: leave it at 32"):
        adapter("svd").write_config(build("svd", **NARROW).config)
