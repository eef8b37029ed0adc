"""Wan equals diffusers' Wan at the same random weights; its chunked, cached execution is the definition."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from wan_reference import in_double, reference, video

from vidlatent.autoencoders import Autoencoder, load
from vidlatent.testing import relative_error

PRESETS = ["wan-2.1", "wan-2.2"]


def pair(reference: AutoencoderKLWan, folder: Path) -> Autoencoder:
    """Ours with the weights that theirs saved."""
    reference.save_pretrained(folder)
    return load(folder, dtype=reference.dtype)


def assert_equal_models(ours: Autoencoder, theirs: AutoencoderKLWan, clip: Tensor, tolerance: float) -> None:
    want, got = theirs.encode(clip).latent_dist, ours.encode(clip)
    errors = {"mean": relative_error(got.mean, want.mean), "logvar": relative_error(got.logvar, want.logvar)}
    latents = torch.randn(want.mean.shape, generator=torch.Generator().manual_seed(1), dtype=clip.dtype)
    errors["video"] = relative_error(ours.decode(latents), theirs.decode(latents).sample)
    assert got.mean.std() > 0.1
    assert max(errors.values()) <= tolerance, errors


@pytest.fixture(scope="module", params=PRESETS)
def narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    theirs = reference(request.param)
    return pair(theirs, tmp_path_factory.mktemp(request.param)), theirs


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory):
    theirs = reference("wan-2.1", base_dim=96)
    return pair(theirs, tmp_path_factory.mktemp("published")), theirs


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_narrow_models_are_equal(narrow, frames: int) -> None:
    assert_equal_models(*narrow, video(frames), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, *(pytest.param(t, marks=pytest.mark.slow) for t in (9, 17))])
def test_the_published_width_is_equal(published, frames: int) -> None:
    assert_equal_models(*published, video(frames, 32, 32), 1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_of_wan_22_is_equal(tmp_path: Path) -> None:
    theirs = reference("wan-2.2", base_dim=160, decoder_base_dim=256)
    assert_equal_models(pair(theirs, tmp_path), theirs, video(5, 32, 32), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("frames", [1, 9])
def test_in_double_only_the_order_of_summation_differs(preset: str, frames: int, tmp_path: Path) -> None:
    theirs = in_double(reference(preset))
    assert_equal_models(pair(theirs, tmp_path), theirs, video(frames, dtype=torch.double), 1e-12)


@torch.no_grad()
@pytest.mark.parametrize("steps", [(False, False), (True, False), (False, True)])
def test_other_temporal_steps_are_equal(steps: tuple[bool, bool], tmp_path: Path) -> None:
    shape = {"dim_mult": [1, 2, 2], "temperal_downsample": list(steps), "num_res_blocks": 1}
    theirs = reference("wan-2.1", **shape)
    ours = pair(theirs, tmp_path)
    assert ours.latent_spec.stride == (2 ** sum(steps), 4, 4)
    assert_equal_models(ours, theirs, video(9, 16, 16), 1e-5)


@torch.no_grad()
def test_positions_without_any_signal_stay_finite(tmp_path: Path) -> None:
    theirs = reference("wan-2.1")
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    ours, black = pair(theirs, tmp_path), torch.zeros(1, 3, 5, 16, 16)
    assert torch.equal(ours.encode(black).mean, theirs.encode(black).latent_dist.mean)
    assert not ours.decode(torch.zeros(1, 16, 2, 2, 2)).any()


@torch.no_grad()
@pytest.mark.parametrize("frames", [2, 3, 4])
def test_the_last_frame_counts_where_diffusers_drops_the_tail_of_other_than_4n_plus_1_frames(
    narrow, frames: int
) -> None:
    ours, theirs = narrow
    clip = video(frames)
    changed = torch.cat([clip[:, :, :-1], -clip[:, :, -1:]], 2)
    assert torch.equal(theirs.encode(clip).latent_dist.mean, theirs.encode(changed).latent_dist.mean)
    assert relative_error(ours.encode(changed).mean, ours.encode(clip).mean) > 0.01


@torch.no_grad()
def test_what_is_added_to_fit_repeats_the_last_frame_row_and_column(narrow) -> None:
    ours, theirs = narrow
    clip = video(3, 30, 33)
    stride = ours.latent_spec.stride
    rows, columns = (-size % step for size, step in zip(clip.shape[3:], stride[1:], strict=True))
    fitted = torch.nn.functional.pad(clip, (0, columns, 0, rows, 0, 2), mode="replicate")
    assert relative_error(ours.encode(clip).mean, theirs.encode(fitted).latent_dist.mean) <= 1e-5
