"""LeanVAE equals its authors' code at the same random weights: what that computed is in references/."""

from pathlib import Path

import pytest
import torch
from family_checks import assert_any_clip_comes_back, assert_trees_stream
from upstream_references import assert_authors_answers_are_met, drawn

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of, without_weights
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

NARROW = {"latent_channels": 2, "low": 3, "high": 5, "apart_layers": 1, "joint_layers": 1, "steps": 1, "step_layers": 1}


@torch.no_grad()
def test_the_authors_answers_are_met() -> None:
    assert_authors_answers_are_met("lean-vae")


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("lean-vae-16", **NARROW), (6, 17, 8), (3, 2, 1), axes)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 6])
def test_any_clip_comes_back_in_its_own_shape(frames: int) -> None:
    ae = build("lean-vae-16", **NARROW)
    posterior = assert_any_clip_comes_back(ae, frames, (1 if frames == 1 else 3, 2, 2))
    assert torch.equal(ae.normalize(posterior.mean), posterior.mean)


@torch.no_grad()
def test_the_authors_checkpoint_loads_beside_its_discriminator(tmp_path: Path) -> None:
    config = CATALOG["lean-vae-16"].config
    shapes = shapes_of(without_weights("lean-vae", config))
    names = {link.theirs: link.their_shape for link in adapter("lean-vae").links(config, shapes, "original")}
    assert names["latent_bottleneck.phi"] == (16, 512)
    assert names["latent_bottleneck.forward_l.1.ffd_layer.1.4.weight"] == (512, 1365)
    assert names["encoder.low_layer.dconv_layer.1.ds_conv.weight"] == (128, 1, 3, 3, 3)
    assert names["decoder.video_high_proj.0.weight"] == (672, 384)
    tensors = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in names.items()}
    tensors["latent_bottleneck.phi"] = drawn("phi", (16, 512), torch.bfloat16)
    torch.save({"state_dict": tensors | {"discriminator.bias": torch.zeros(1)}}, tmp_path / "LeanVAE-dim16.ckpt")
    ae = load("lean-vae-16", weights=tmp_path / "LeanVAE-dim16.ckpt", dtype=torch.bfloat16)
    assert torch.equal(ae.decoder.steps[1].descend.phi, tensors["latent_bottleneck.phi"])


def test_there_is_no_folder_of_diffusers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="diffusers has no LeanVAE"):
        save_pretrained(build("lean-vae-16", **NARROW), tmp_path)


def test_contradicting_fields_are_refused() -> None:
    with pytest.raises(ModelError, match="all numbers must be at least 1"):
        build("lean-vae-16", steps=0)
