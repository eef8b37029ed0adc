"""MiniMax-H3 equals diffusers' at the same random weights, with its tiles and clips, which are the model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLMiniMaxH3
from diffusers.models.autoencoders import autoencoder_kl_minimax_h3
from family_checks import (
    assert_any_clip_comes_back,
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    assert_trees_stream,
    noise,
    ours_of,
    randomise,
)
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.autoencoders.minimax_h3.layout import Layout
from vidlatent.errors import InputError, ModelError
from vidlatent.testing.streams import ALL_AXES

SMALL = {
    "block_out_channels": [8, 8, 16, 16],
    "layers_per_block": 1,
    "spatial_downsample_factors": [2, 2, 2, 1],
    "temporal_downsample_factors": [1, 2, 2, 1],
    "norm_num_groups": 4,
    "decoder_num_layers": 2,
    "decoder_num_attention_heads": 2,
    "decoder_attention_head_dim": 16,
    "decoder_ffn_mult": 2,
    "latent_channels": 4,
    "latents_mean": [0.1, 0.2, 0.3, 0.4],
    "latents_std": [1.0, 2.0, 3.0, 4.0],
}
NARROW = {
    "widths": (4, 4, 8),
    "num_res_blocks": 1,
    "space_steps": (2, 2, 1),
    "time_steps": (2, 2, 1),
    "groups": 2,
    "decoder_blocks": 1,
    "heads": 2,
    "head_dim": 8,
    "expansion": 1,
    "latent_channels": 3,
    "tile": 8,
    "tile_overlap": 4,
}
MEAN, STD = (
    torch.tensor(values, dtype=torch.double).view(1, 3, 1, 1, 1)
    for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


def reference(**config: object) -> AutoencoderKLMiniMaxH3:
    """Theirs with tiles of 32 pixels that share 8, a latent."""
    with torch.no_grad():
        theirs = randomise(AutoencoderKLMiniMaxH3(**{**SMALL, **config}))
    for name, parameter in theirs.named_parameters():
        if name.endswith(("scale1", "scale2", "register_tokens")):  # neither norms nor matrices
            parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(len(name)))
    theirs.enable_tiling(32, 32, 8, 8)
    return theirs


def pair(theirs: AutoencoderKLMiniMaxH3, folder: Path) -> Autoencoder:
    """Ours with the weights and the tiles of theirs, which their configuration does not say."""
    loaded = ours_of(theirs, folder)
    tile, overlap = theirs.tile_sample_min_height, theirs.tile_sample_min_overlap_height
    config = replace(loaded.config, tile=tile, tile_overlap=overlap)
    ours = Autoencoder(loaded.family, config, FAMILIES[loaded.family].build(config)).to(loaded.dtype)
    ours.load_state_dict(loaded.state_dict())
    for pixels, factor, offset in (
        (ours.encoder.pixels, 0.5 / STD, (0.5 - MEAN) / STD),
        (ours.decoder.pixels, 2 * STD, 2 * MEAN - 1),
    ):  # not rounded to float32 before they are float64
        pixels.factor, pixels.offset = factor[0].to(ours.dtype), offset[0].to(ours.dtype)
    return ours.eval()


def assert_equal_models(
    ours: Autoencoder, theirs: AutoencoderKLMiniMaxH3, frames: int, size: tuple[int, int], tolerance: float
) -> None:
    clip, mean, std = noise(3, frames, *size, dtype=theirs.dtype), MEAN.to(theirs.dtype), STD.to(theirs.dtype)
    want = theirs.encode(((clip + 1) / 2 - mean) / std).latent_dist
    posterior = ours.encode(clip)
    assert_equal(posterior.mean, want.mean, tolerance)
    assert_equal(posterior.logvar, want.logvar, tolerance)
    if frames > 1:
        video = theirs.decode(want.mean).sample * std + mean
        got = ours.decoder(want.mean)
        assert got.shape[2] == frames
        assert_equal((got + 1) / 2, video, tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 22, 39])
@pytest.mark.parametrize("size", [(32, 24), (40, 72)])
def test_models_are_equal(frames: int, size: tuple[int, int], tmp_path: Path) -> None:
    """In one tile; in tiles whose overlaps differ."""
    theirs = reference()
    assert_equal_models(pair(theirs, tmp_path), theirs, frames, size, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("count", [3, 6, 8])
def test_latents_that_end_within_a_clip_are_decoded_as_theirs(count: int, tmp_path: Path) -> None:
    theirs, latents = reference(), noise(4, count, 4, 3)
    ours = pair(theirs, tmp_path)
    want = (theirs.decode(latents).sample * STD + MEAN).float()
    assert want.shape[2] == ours.latent_spec.num_frames(count)
    assert_equal((ours.decoder(latents) + 1) / 2, want, 1e-5)


class _Double:
    """torch, whose float32 is not less than float64: theirs rounds positions to it."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@torch.no_grad()
def test_in_double_only_the_order_of_summation_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder_kl_minimax_h3, "torch", _Double())
    monkeypatch.setattr(Tensor, "float", lambda self: self)
    theirs = reference().double()
    assert_equal_models(pair(theirs, tmp_path), theirs, 22, (40, 48), 1e-12)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    """Of 36 alike layers of the transformer, four; a tile, and clips, as published."""
    with torch.no_grad():
        theirs = randomise(AutoencoderKLMiniMaxH3(decoder_num_layers=4))
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 22, (64, 96), 1e-5)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("minimax-h3", **NARROW), (20, 18, 4), (9, 5, 2), axes)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "count"), [(1, 1), (7, 3), (17, 5), (18, 6), (40, 13)])
def test_any_clip_comes_back_in_its_own_shape(frames: int, count: int) -> None:
    """A latent of every five holds one frame, the others four."""
    ae = build("minimax-h3", **NARROW | {"mean": (0.5,) * 3, "std": (2.0,) * 3})
    posterior = assert_any_clip_comes_back(ae, frames, (count, 3, 4))
    torch.testing.assert_close(ae.normalize(posterior.mean), (posterior.mean - 0.5) / 2)
    spec = ae.latent_spec
    assert spec.num_latent_frames(spec.num_frames(count)) == count
    assert spec.num_frames(count) >= frames > spec.num_frames(count - 1)


@pytest.mark.parametrize("length", range(1, 60))
def test_tiles_cover_an_axis_and_share_what_they_must(length: int) -> None:
    """As theirs does it, in pixels of which 16 are a latent."""
    spans = Layout(16, 4, 1, 16).spans(length)
    starts, sizes, overlaps = AutoencoderKLMiniMaxH3._split_tiles(_OfSixteen(), length * 16, 256, 64)
    assert [start * 16 for start, _ in spans] == starts
    assert [shared * 16 for _, shared in spans[:-1]] == overlaps
    assert spans[-1][0] + min(16, length) == length == (starts[-1] + sizes[-1]) // 16


class _OfSixteen:
    spatial_compression_ratio = 16


def test_tiles_are_the_model() -> None:
    with pytest.raises(InputError, match="its tiles are the model"):
        build("minimax-h3", **NARROW).encode(noise(3, 1, 8, 8), policy="upstream")


def test_files_go_both_ways(tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(), tmp_path)


def test_every_tensor_of_the_published_size_has_its_place() -> None:
    assert_every_tensor_has_its_place(AutoencoderKLMiniMaxH3, "minimax-h3", CATALOG["minimax-h3"].config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"space_steps": (2, 2)}, "one entry for each of 6 widths"),
        ({"time_steps": (3,) * 6}, "are 1 or 2 each"),
        ({"space_steps": (2, 2, 1, 1, 1, 1)}, "time is halved where space is"),
        ({"groups": 48}, "do not divide into 48 groups"),
        ({"rotated": 0.5}, "0.5 of head_dim 64 must be a multiple of 6"),
        ({"clip": 16}, r"clip must be 1 \+ k \* 4"),
        ({"dropped": 5}, "dropped less than its latents"),
        ({"tile": 250}, "multiples of 16, the overlap smaller"),
        ({"mean": (0.0,)}, "mean has 1 entries for 24 latent channels"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("minimax-h3", **fields)
