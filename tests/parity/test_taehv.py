"""TAEHV equals a frame-by-frame reading of its checkpoints, whose keys and shapes are those of the authors' code."""

from pathlib import Path

import pytest
import torch
from family_checks import assert_equal, noise
from taehv_reference import decode, encode

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.errors import ModelError

PRESETS = [name for name, entry in CATALOG.items() if entry.family == "taehv"]


def checkpoint(preset: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the authors' names, with activations near one."""
    config = CATALOG[preset].config
    links = adapter("taehv").links(config, shapes_of(without_weights("taehv", config)), "original")
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for link in links:
        scale = 0.1 if len(link.their_shape) == 1 else torch.Size(link.their_shape[1:]).numel() ** -0.5
        tensors[link.theirs] = torch.randn(link.their_shape, generator=generator) * scale
    return tensors


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float, 1e-5), (torch.double, 1e-12)])
@pytest.mark.parametrize("preset", PRESETS)
def test_models_are_equal(preset: str, dtype: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    weights, config = checkpoint(preset), CATALOG[preset].config
    torch.save(weights, tmp_path / "weights.pth")
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    ours = load(preset, weights=tmp_path / "weights.pth", dtype=dtype)
    time, rows, columns = ours.latent_spec.stride
    for frames in (1, 1 + 2 * time):
        clip = noise(3, frames, 2 * rows, columns, dtype=dtype)
        got = ours.encode(clip)
        assert_equal(got.mean[0].transpose(0, 1), encode(weights, config, clip[0].transpose(0, 1)), tolerance)
        assert got.logvar is None
        latents = 2 * noise(config.latent_channels, *got.mean.shape[2:], dtype=dtype)
        want = decode(weights, config, latents[0].transpose(0, 1))
        assert (want.abs() < 1).double().mean() > 0.1
        assert_equal(ours.decode(latents)[0].transpose(0, 1), want, tolerance)


def test_keys_and_shapes_of_the_authors() -> None:
    """A few that say everything: frames as channels, the present before the past, layers numbered in one run."""
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint("taew-2.1").items()}
    assert len(shapes) == 128
    for name, shape in {
        "encoder.0.weight": (64, 3, 3, 3),
        "encoder.2.conv.weight": (64, 128, 1, 1),
        "encoder.3.weight": (64, 64, 3, 3),
        "encoder.4.conv.0.weight": (64, 128, 3, 3),
        "encoder.12.conv.weight": (64, 64, 1, 1),
        "encoder.17.bias": (16,),
        "decoder.1.weight": (256, 16, 3, 3),
        "decoder.7.conv.weight": (256, 256, 1, 1),
        "decoder.13.conv.weight": (256, 128, 1, 1),
        "decoder.20.weight": (64, 64, 3, 3),
        "decoder.22.weight": (3, 64, 3, 3),
    }.items():
        assert shapes.pop(name) == shape, name


def test_a_file_alone_is_known_by_its_tensors(tmp_path: Path) -> None:
    torch.save(checkpoint("taew-2.2"), tmp_path / "taew2_2.pth")
    alone, named = load(tmp_path / "taew2_2.pth"), load("taew-2.2", weights=tmp_path / "taew2_2.pth")
    assert alone.fingerprint == named.fingerprint
    assert alone.latent_spec.channels == 48


def test_diffusers_folders_are_refused(tmp_path: Path) -> None:
    ae = build("taehv", encoder_width=8, decoder_widths=(8, 8, 8, 8))
    with pytest.raises(ModelError, match="diffusers has no TAEHV"):
        save_pretrained(ae, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
