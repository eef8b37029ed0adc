"""Cosmos' tokenizer equals diffusers' at the same random weights, and its statistics go frame by frame."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLCosmos
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

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.errors import ModelError
from vidlatent.testing import relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"encoder_widths": (4, 6, 8, 8), "decoder_widths": (4, 6, 8, 8), "num_res_blocks": 1}


def reference(width: int = 8, **config: object) -> AutoencoderKLCosmos:
    widths = {"encoder_block_out_channels": [width, 2 * width, 4 * width, 4 * width]}
    widths["decode_block_out_channels"] = [2 * width, 4 * width, 4 * width, 4 * width]
    with torch.no_grad():
        return randomise(AutoencoderKLCosmos(**{**widths, "attention_resolutions": [32], **config}))


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLCosmos, frames: int, tolerance: float, *, size: int = 32
) -> None:
    want = theirs.encode(noise(3, frames, size, size + 16, dtype=theirs.dtype)).latent_dist.mode()
    posterior = ours.encode(noise(3, frames, size, size + 16, dtype=theirs.dtype))
    assert posterior.logvar is None
    assert_equal(posterior.mean, want, tolerance)
    video = unclamped(ours, want)
    assert_equal(video, theirs.decode(want).sample, tolerance)
    assert video.shape == (1, 3, frames, size, size + 16)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 9, 17])
def test_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("time", "space", "patch"), [(4, 8, 4), (4, 16, 4), (8, 16, 4), (4, 8, 2), (4, 4, 4)])
def test_other_strides_are_equal(time: int, space: int, patch: int, tmp_path: Path) -> None:
    strides = {"temporal_compression_ratio": time, "spatial_compression_ratio": space, "patch_size": patch}
    theirs = reference(4, **strides)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5)


@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(128)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(4).double()
    for patching in (theirs.encoder.patch_embed, theirs.decoder.unpatch_embed):
        patching.wavelets = torch.full((2,), 0.5, dtype=torch.double).sqrt()  # theirs is rounded to float32
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12, size=16)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("cosmos-1.0", **NARROW), (15, 31, 16), (4, 4, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape_and_the_first_frame_stands_alone() -> None:
    ae, clip = build("cosmos-1.0", **NARROW), noise(3, 11, 13, 22)
    posterior = ae.encode(clip)
    assert posterior.mean.shape == (1, 16, 3, 2, 3)
    assert ae.decode(posterior.mean, num_frames=11, size=posterior.size).shape == clip.shape
    assert relative_error(ae.encode(clip[:, :, :1]).mean, posterior.mean[:, :, :1]) <= 1e-5


@pytest.mark.parametrize("frames", [1, 3, 16, 18])
def test_statistics_go_frame_by_frame(frames: int) -> None:
    """As the pipelines cut `latents_mean.view(1, channels, -1, 1, 1)` to the clip; later frames take the last."""
    ae, latents = build("cosmos-1.0", **NARROW), noise(16, frames, 2, 2)
    mean, std = (torch.tensor(values).view(1, 16, -1, 1, 1) for values in (ae.config.mean, ae.config.std))
    known = min(frames, 16)
    want = (latents[:, :, :known] - mean[:, :, :known]) / std[:, :, :known]
    torch.testing.assert_close(ae.normalize(latents)[:, :, :known], want)
    torch.testing.assert_close(ae.denormalize(ae.normalize(latents)), latents)
    last = (latents[:, :, known:] - mean[:, :, -1:]) / std[:, :, -1:]
    torch.testing.assert_close(ae.normalize(latents)[:, :, known:], last)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(), tmp_path / "with")
    assert_files_go_both_ways(reference(latents_mean=None, latents_std=None), tmp_path / "without")


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLCosmos, "cosmos", CATALOG["cosmos-1.0"].config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"encoder_widths": (8,)}, "encoder_widths needs 2 to 4 widths"),
        ({"decoder_widths": (8, 8, 8, 8, 8)}, "decoder_widths needs 2 to 4 widths"),
        ({"time_stride": 2}, "time_stride 2 with patch_size 4 .* choose of \\[4, 8\\]"),
        ({"space_stride": 4}, "time_stride 8 exceeds space_stride 4"),
        ({"mean": (0.0,) * 17}, "mean has 17 entries, no multiple of 16 channels"),
        ({"num_res_blocks": 0}, "num_res_blocks must be at least 1"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("cosmos-1.0", **fields)


def test_other_patches_are_refused() -> None:
    with pytest.raises(ModelError, match="patch_type is 'rearrange', only 'haar' is supported"):
        adapter("cosmos").read_config({"patch_type": "rearrange"}, "config.json")
