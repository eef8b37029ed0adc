"""LTX-Video and LTX-2 equal diffusers' at the same random weights, with its temporal tiling off."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_checks import assert_equal, noise, ours_of, unclamped
from ltx_reference import NARROW, decode, norms_in_double, reference, without_noise
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.autoencoders.ltx.timestep import NoiseInjection


def assert_models_agree(theirs: nn.Module, ours: Autoencoder, frames: int, tolerance: float) -> None:
    _, rows, columns = ours.latent_spec.stride
    clip = noise(3, frames, 3 * rows, 2 * columns, dtype=ours.dtype)
    posterior, want = ours.encode(clip), theirs.encode(clip).latent_dist
    assert_equal(posterior.mean, want.mean, tolerance)
    assert_equal(posterior.logvar, want.logvar, tolerance)
    latents = noise(ours.latent_spec.channels, 1 + frames // 8, 3, 2, dtype=ours.dtype) * 2
    video = decode(theirs, latents)
    assert_equal(unclamped(ours, latents), video, tolerance)
    assert torch.equal(ours.decode(latents), unclamped(ours, latents).clamp(-1, 1))


@torch.no_grad()
@pytest.mark.parametrize("preset", NARROW)
@pytest.mark.parametrize("frames", [1, 9, 17])
def test_narrow_models_are_equal(preset: str, frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_noise(monkeypatch)
    theirs = reference(preset)
    assert_models_agree(theirs, ours_of(theirs, tmp_path), frames, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", NARROW)
def test_in_double_only_the_order_of_summation_differs(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(monkeypatch)
    norms_in_double(monkeypatch)
    theirs = reference(preset).double()
    assert_models_agree(theirs, ours_of(theirs, tmp_path), 9, 1e-12)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("preset", NARROW)
def test_the_published_width_is_equal(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_noise(monkeypatch)
    theirs = reference(preset, narrow=False)
    assert_models_agree(theirs, ours_of(theirs, tmp_path), 1, 1e-5)


@torch.no_grad()
def test_the_timestep_of_the_configuration_is_the_one_decoded_with(tmp_path: Path) -> None:
    theirs, latents = reference("ltx-video-0.9.5"), noise(8, 2, 3, 2)
    loaded = ours_of(theirs, tmp_path)
    config = replace(loaded.config, decode_timestep=0.3)
    ours = Autoencoder(loaded.family, config, FAMILIES[loaded.family].build(config))
    ours.load_state_dict(loaded.state_dict())
    assert_equal(unclamped(ours, latents), decode(theirs, latents, 0.3), 1e-5)
    assert_equal(unclamped(loaded, latents), decode(theirs, latents, 0.05), 1e-5)
    assert (unclamped(ours, latents) - unclamped(loaded, latents)).abs().max() > 0.01


@torch.no_grad()
def test_noise_goes_where_theirs_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their draws, in the order they make them, gets the noise that ours has at the same layer."""
    theirs, latents = reference("ltx-video-0.9.1"), noise(8, 2, 3, 2)
    loaded = ours_of(theirs, tmp_path)
    config = replace(loaded.config, noise_seed=7)
    ours = Autoencoder(loaded.family, config, FAMILIES[loaded.family].build(config))
    ours.load_state_dict(loaded.state_dict())
    layers = iter(module for module in ours.decoder.modules() if isinstance(module, NoiseInjection))
    got = unclamped(ours, latents)

    def draw(size: torch.Size, **_: object) -> Tensor:
        layer = next(layers)
        return torch.stack([layer.noise(row, size[1]) for row in range(size[0])])

    with monkeypatch.context() as patch:
        real = torch.randn
        patch.setattr(
            torch, "randn", lambda *size, **kw: real(*size, **kw) if isinstance(size[0], int) else draw(*size)
        )
        want = decode(theirs, latents)
    assert next(layers, None) is None
    assert_equal(got, want, 1e-5)
    assert (got - unclamped(loaded, latents)).abs().max() > 0.01


@torch.no_grad()
def test_a_causal_decoder_is_equal(tmp_path: Path) -> None:
    theirs = reference("ltx-2", decoder_causal=True)
    assert_models_agree(theirs, ours_of(theirs, tmp_path), 9, 1e-5)
