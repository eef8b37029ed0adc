"""HunyuanVideo's autoencoder equals diffusers' at the same random weights, with its framewise cuts off."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo
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

from vidlatent.autoencoders import Autoencoder, build, load
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.errors import ModelError
from vidlatent.testing import relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"widths": (2, 4, 4), "groups": 2, "num_res_blocks": 1, "latent_channels": 3, "space_stride": 4}


def reference(*widths: int, whole: bool = True, **config: object) -> AutoencoderKLHunyuanVideo:
    values = {"norm_num_groups": 4, "layers_per_block": 1, **config}
    blocks = {f"{way.lower()}_block_types": [f"HunyuanVideo{way}Block3D"] * len(widths) for way in ("Down", "Up")}
    with torch.no_grad():
        theirs = randomise(AutoencoderKLHunyuanVideo(block_out_channels=list(widths), **blocks, **values))
    theirs.use_framewise_encoding = theirs.use_framewise_decoding = not whole
    return theirs


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLHunyuanVideo, frames: int, tolerance: float, *, size: int = 16
) -> None:
    clip = noise(3, frames, size, size + 8, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist.parameters
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, tolerance)
    latents = want.chunk(2, 1)[0]
    assert_equal(unclamped(ours, latents), theirs.decode(latents).sample, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 21])
def test_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference(8, 12, 16, 16)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", [{"spatial_compression_ratio": 4}, {"mid_block_add_attention": False}])
def test_other_architectures_are_equal(config: dict, tmp_path: Path) -> None:
    theirs = reference(4, 8, 8, 8, **config)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5)


@torch.no_grad()
def test_their_default_is_equal_for_short_clips_and_another_beyond(tmp_path: Path) -> None:
    theirs = reference(8, 8, 8, 8, whole=False)
    ours = ours_of(theirs, tmp_path)
    assert_equal_models(ours, theirs, 13, 1e-5)
    clip = noise(3, 21, 16, 16)
    error = relative_error(ours.encode(clip).mean, theirs.encode(clip).latent_dist.mean)
    assert error > 0.01


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(128, 256, 512, 512, norm_num_groups=32, layers_per_block=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(4, 8, 8, 8).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("hunyuan-video", **NARROW), (4, 5, 4), (2, 3, 1), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("hunyuan-video", **NARROW)
    posterior = assert_any_clip_comes_back(ae, 7, (3, 3, 4))
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 0.476986)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(8, 8, 8, 8, scaling_factor=0.5, latent_channels=2), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLHunyuanVideo, "hunyuan-video", CATALOG["hunyuan-video"].config)


@torch.no_grad()
def test_the_authors_checkpoint_loads(tmp_path: Path) -> None:
    theirs = reference(8, 8, 8, 8)
    original = {f"vae.{name}": tensor for name, tensor in theirs.state_dict().items()}
    assert "vae.encoder.down_blocks.1.downsamplers.0.conv.conv.weight" in original
    torch.save({"state_dict": original}, tmp_path / "pytorch_model.pt")
    ours = ours_of(theirs, tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "pytorch_model.pt").fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": (32, 32)}, "widths needs 3 entries"),
        ({"widths": (32, 32, 48)}, "widths \\[48\\] do not divide into 32 groups"),
        ({"space_stride": 32}, "space_stride is 32, 4 levels allow \\[1, 2, 4, 8, 16\\]"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("hunyuan-video", **fields)


def test_other_temporal_strides_are_refused() -> None:
    with pytest.raises(ModelError, match="temporal_compression_ratio is 8, only 4 is supported"):
        adapter("hunyuan-video").read_config({"temporal_compression_ratio": 8}, "config.json")
