"""CogVideoX's autoencoder equals diffusers' where a clip is one chunk there: by its length, or by asking for it."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
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
from vidlatent.testing import relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"widths": (4, 6, 8), "groups": 2, "num_res_blocks": 1, "latent_channels": 3}


def reference(*widths: int, **config: object) -> AutoencoderKLCogVideoX:
    values = {"norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 6, **config}
    blocks = {f"{way.lower()}_block_types": [f"CogVideoX{way}Block3D"] * len(widths) for way in ("Down", "Up")}
    with torch.no_grad():
        return randomise(AutoencoderKLCogVideoX(block_out_channels=list(widths), **blocks, **values))


def in_one_chunk(theirs: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    theirs.num_sample_frames_batch_size = theirs.num_latent_frames_batch_size = 10_000
    return theirs


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLCogVideoX, frames: int, tolerance: float, *, size: int = 16
) -> None:
    clip = noise(3, frames, size, size + 8, dtype=theirs.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist.parameters
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, tolerance)
    latents = want.chunk(2, 1)[0]
    if latents.shape[2] % 2:  # theirs takes an even number for another kind of clip
        assert_equal(unclamped(ours, latents), theirs.decode(latents).sample, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9, 13])
def test_models_are_equal_where_a_clip_is_one_chunk(frames: int, tmp_path: Path) -> None:
    theirs = reference(8, 16, 16, 24)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
def test_longer_clips_are_equal_where_they_are_taken_as_one_chunk(tmp_path: Path) -> None:
    theirs = reference(8, 16, 16, 24)
    ours, clip = ours_of(theirs, tmp_path), noise(3, 33, 16, 16)
    assert relative_error(theirs.encode(clip).latent_dist.mean, ours.encode(clip).mean) > 0.01
    assert_equal_models(ours, in_one_chunk(theirs), 33, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_other_temporal_strides_are_equal(stride: int, tmp_path: Path) -> None:
    theirs = in_one_chunk(reference(8, 8, 12, 12, temporal_compression_ratio=stride))
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 1 + 2 * stride, 1e-5)


@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(128, 256, 256, 512, norm_num_groups=32, layers_per_block=3, latent_channels=16)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5, size=8)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path) -> None:
    theirs = reference(8, 16, 16).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("cogvideox-2b", **NARROW), (7, 11, 8), (4, 4, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("cogvideox-5b", **NARROW)
    posterior = assert_any_clip_comes_back(ae, 7, (3, 3, 4))
    torch.testing.assert_close(ae.normalize(posterior.mean), posterior.mean * 0.7)


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(8, 16, invert_scale_latents=True, temporal_compression_ratio=2), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLCogVideoX, "cogvideox", CATALOG["cogvideox-2b"].config)


@torch.no_grad()
def test_the_authors_checkpoint_loads(tmp_path: Path) -> None:
    """Their decoder counts levels from the finest on, and a discriminator comes along."""
    ours = build("cogvideox-2b", **NARROW, seed=3)
    links = adapter("cogvideox").links(ours.config, shapes_of(ours), "original")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    for name in (
        *(
            "encoder.mid.block_2.norm1.weight",
            "encoder.down.0.downsample.conv.bias",
            "encoder.down.0.block.0.conv1.conv.bias",
        ),
        *(
            "decoder.up.2.upsample.conv.weight",
            "decoder.up.1.block.0.nin_shortcut.weight",
            "encoder.conv_out.conv.bias",
        ),
        "decoder.up.0.block.1.norm2.conv_y.conv.weight",
    ):
        assert name in original
    assert original["decoder.up.2.block.0.conv1.conv.weight"].shape[0] == 8  # the coarsest level's width
    torch.save({"state_dict": original | {"loss.logvar": torch.zeros(())}}, tmp_path / "3d-vae.pt")
    save_pretrained(build("cogvideox-2b", **NARROW), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "3d-vae.pt").fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": ()}, "must be at least 1"),
        ({"widths": (32, 48)}, "widths \\[48\\] do not divide into 32 groups"),
        ({"time_stride": 16}, "time_stride is 16, 4 levels allow \\[1, 2, 4, 8\\]"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("cogvideox-2b", **fields)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="use_quant_conv is True, only False is supported"):
        adapter("cogvideox").read_config({"use_quant_conv": True}, "config.json")
    with pytest.raises(ModelError, match=r"down_block_types is .* only 'CogVideoXDownBlock3D' is supported"):
        adapter("cogvideox").read_config({"down_block_types": ["DownBlock3D"]}, "config.json")
