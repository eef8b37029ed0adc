"""TAEHV equals a frame-by-frame reading of its checkpoints, whose keys and shapes are those of the authors' code."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_checks import assert_equal, assert_trees_stream, noise
from taehv_reference import decode, encode

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.autoencoders.taehv.model import TAEHVConfig
from vidlatent.autoencoders.tensor_files import read_tensor_file
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

CONFIGS = {entry.config: name for name, entry in reversed(CATALOG.items()) if entry.family == "taehv"}
PRESETS = sorted(CONFIGS.values())
"""One of each architecture."""

SUPER = {"encoder_width": 8, "decoder_widths": (32, 16, 8, 8), "num_blocks": 2}
"""Theirs is wide: what is published takes its time."""


def config_of(preset: str) -> TAEHVConfig:
    """The published sizes, or those of a narrow model."""
    config = CATALOG[preset].config
    return replace(config, **SUPER) if config.decoder == "super" else config


def checkpoint(preset: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the authors' names, with activations near one."""
    config = config_of(preset)
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
    weights, config = checkpoint(preset), config_of(preset)
    torch.save(weights, tmp_path / "weights.pth")
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    tensors = read_tensor_file(tmp_path / "weights.pth").tensors
    ours = load_published(Described("taehv", config), tensors, preset, device="cpu", dtype=dtype)
    time, rows, columns = ours.latent_spec.stride
    for frames in (5, 22) if config.run else (1, 1 + 2 * time):
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


def decoder_shapes(preset: str) -> dict[str, tuple[int, ...]]:
    """Of the authors' names."""
    config = CATALOG[preset].config
    links = adapter("taehv").links(config, shapes_of(without_weights("taehv", config)), "original")
    return {link.theirs: link.their_shape for link in links if link.theirs.startswith("decoder.")}


def test_keys_and_shapes_of_the_larger_decoder() -> None:
    shapes = decoder_shapes("taew-2.2-super")
    assert len(shapes) == 1 + 3 * (3 * 4 + 3) + 2
    for name, shape in {
        "decoder.0.weight": (512, 48, 1, 1),
        "decoder.1.conv.0.weight": (1024, 1, 7, 7),
        "decoder.1.conv.1.bias": (2048,),
        "decoder.3.conv.3.weight": (512, 2048, 1, 1),
        "decoder.4.weight": (1024, 512, 3, 3),
        "decoder.14.conv.weight": (256, 128, 1, 1),
        "decoder.22.weight": (12, 64, 3, 3),
    }.items():
        assert shapes[name] == shape, name


def test_keys_and_shapes_of_the_wide_decoder() -> None:
    shapes = decoder_shapes("taeltx-2.3-wide")
    assert len(shapes) == 2 + 3 * (3 * 8 + 2) + 2
    for name, shape in {
        "decoder.1.weight": (1024, 128, 3, 3),
        "decoder.3.conv.0.weight": (1024, 2048, 1, 1),
        "decoder.5.conv.2.weight": (1024, 64, 3, 3),
        "decoder.5.conv.4.weight": (1024, 1024, 1, 1),
        "decoder.9.conv.6.bias": (512,),
        "decoder.19.conv.weight": (512, 256, 1, 1),
        "decoder.20.weight": (64, 256, 3, 3),
        "decoder.22.weight": (48, 64, 3, 3),
    }.items():
        assert shapes[name] == shape, name


@pytest.mark.parametrize("axes", ALL_AXES)
def test_runs_stream_exactly(axes: tuple[int, ...]) -> None:
    ae = build("taeh3", encoder_width=8, decoder_widths=(8, 8, 8, 8), num_blocks=1, patch_size=1, latent_channels=3)
    assert_trees_stream(ae, (40, 16, 8), (12, 3, 2), axes)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_the_wide_decoder_streams_exactly(axes: tuple[int, ...]) -> None:
    widths = {"encoder_width": 8, "decoder_widths": (128, 64, 8, 8), "num_blocks": 1}
    ae = build("taeltx-2.3-wide", **widths, patch_size=1, latent_channels=3)
    assert_trees_stream(ae, (9, 16, 8), (3, 4, 2), axes)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_the_larger_decoder_streams_exactly(axes: tuple[int, ...]) -> None:
    ae = build("taew-2.2-super", **SUPER | {"patch_size": 1, "latent_channels": 3})
    assert_trees_stream(ae, (6, 16, 8), (3, 4, 2), axes)


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
