"""HunyuanVideo 1.5's autoencoder equals diffusers' at the same random weights."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo15
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

from vidlatent.autoencoders import Autoencoder, build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

NARROW = {"widths": (8, 8, 8), "num_res_blocks": 1, "latent_channels": 2, "space_stride": 4, "time_stride": 2}


def reference(*widths: int, **config: object) -> AutoencoderKLHunyuanVideo15:
    values = {"layers_per_block": 1, "latent_channels": 4, **config}
    with torch.no_grad():
        return randomise(AutoencoderKLHunyuanVideo15(block_out_channels=list(widths), **values))


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLHunyuanVideo15, frames: int, tolerance: float, *, size: int = 16
) -> None:
    clip = noise(3, frames, size, 2 * size, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist.parameters
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, tolerance)
    latents = want.chunk(2, 1)[0]
    assert_equal(unclamped(ours, latents), theirs.decode(latents).sample, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 9])
def test_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference(8, 16, 16, 32, 32)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {"spatial_compression_ratio": 8, "temporal_compression_ratio": 8},
        {"spatial_compression_ratio": 8, "temporal_compression_ratio": 2},
        {"spatial_compression_ratio": 4, "temporal_compression_ratio": 4},
        {"spatial_compression_ratio": 8, "downsample_match_channel": False, "upsample_match_channel": False},
    ],
)
def test_other_architectures_are_equal(config: dict, tmp_path: Path) -> None:
    theirs = reference(8, 16, 16, 32, **config)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(128, 256, 512, 1024, 1024, layers_per_block=2, latent_channels=32)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5, size=32)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(8, 16, 16, 32, spatial_compression_ratio=8).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("hunyuan-video-1.5", **NARROW), (4, 7, 4), (3, 3, 1), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("hunyuan-video-1.5", **NARROW)
    posterior = assert_any_clip_comes_back(ae, 7, (4, 3, 4))
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 1.03682)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(8, 16, 16, 32, spatial_compression_ratio=8, scaling_factor=0.5), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    config = CATALOG["hunyuan-video-1.5"].config
    assert_every_tensor_has_its_place(AutoencoderKLHunyuanVideo15, "hunyuan-video-1.5", config)


@torch.no_grad()
def test_the_authors_checkpoint_loads(tmp_path: Path) -> None:
    ours = build("hunyuan-video-1.5", **NARROW, seed=3)
    links = adapter("hunyuan-video-1.5").links(ours.config, shapes_of(ours), "original")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    for name in (
        "encoder.mid.attn_1.q.weight",
        "encoder.mid.attn_1.norm.gamma",
        "encoder.down.1.downsample.conv.conv.bias",
        "decoder.up.0.upsample.conv.conv.weight",
        "decoder.up.2.block.1.conv2.conv.weight",
        "decoder.mid.block_2.norm1.gamma",
    ):
        assert name in original
    torch.save({"state_dict": original}, tmp_path / "vae.pt")
    save_pretrained(build("hunyuan-video-1.5", **NARROW), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "vae.pt").fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": ()}, "must be at least 1"),
        ({"space_stride": 32}, "space_stride is 32, 5 levels allow \\[1, 2, 4, 8, 16\\]"),
        ({"time_stride": 32}, "time_stride is 32: choose a power of two up to 16"),
        ({"latent_channels": 3}, "widths end with 1024, no multiple of 2 x 3 channels"),
        ({"widths": (8, 64, 64, 64, 64)}, "widths must be multiples of 8, with ratios of 1, 2, 4"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("hunyuan-video-1.5", **fields)
