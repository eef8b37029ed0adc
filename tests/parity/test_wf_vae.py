"""WF-VAE equals its authors' code at the same random weights: what that computed is in references/."""

import json
from pathlib import Path

import pytest
import torch
from family_checks import assert_any_clip_comes_back, assert_trees_stream, noise
from upstream_references import assert_authors_answers_are_met

from vidlatent.autoencoders import build, load, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.tensor_files import read_tensor_file
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

NARROW = {
    "base": 4,
    "encoder_flow": 2,
    "decoder_flow": 3,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "latent_channels": 2,
}


@torch.no_grad()
def test_the_authors_answers_are_met() -> None:
    assert_authors_answers_are_met("wf-vae")


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("wf-vae-l-16", **NARROW), (4, 9, 8), (3, 2, 1), axes)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 6])
def test_any_clip_comes_back_in_its_own_shape(frames: int) -> None:
    ae = build("wf-vae-l-16", **NARROW)
    assert_any_clip_comes_back(ae, frames, (1 if frames == 1 else 3, 2, 2))


def test_latents_are_scaled_as_the_configuration_says() -> None:
    ae, latents = build("wf-vae-l-16", **NARROW, scale=(2.0, 4.0), shift=(1.0, -1.0)), noise(2, 1, 2, 2)
    want = (latents - torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)) * torch.tensor([2.0, 4.0]).view(1, 2, 1, 1, 1)
    torch.testing.assert_close(ae.normalize(latents), want)


def test_files_come_back_with_their_wavelets(tmp_path: Path) -> None:
    ours = build("wf-vae-l-16", **NARROW, seed=3, scale=(2.0, 4.0))
    save_pretrained(ours, tmp_path)
    assert load(tmp_path).fingerprint == ours.fingerprint
    tensors = read_tensor_file(tmp_path / "diffusion_pytorch_model.safetensors").tensors
    assert tensors["encoder.wavelet_transform_l2.gh_v_conv.conv.weight"].flatten()[:3].tolist() == pytest.approx(
        [0.3536, -0.3536, -0.3536]
    )
    assert tensors["decoder.inverse_wavelet_transform_l1.ad"].flatten().tolist() == [0.5, 0.5, -0.5, -0.5]


def test_their_published_configuration_is_ours(tmp_path: Path) -> None:
    """With scales for 4 of 16 channels, which upstream does not use."""
    values = {**adapter("wf-vae").write_config(CATALOG["wf-vae-l-16"].config), "scale": [0.18215] * 4, "shift": [0] * 4}
    values = json.loads(json.dumps(values))
    assert adapter("wf-vae").read_config(values, tmp_path) == CATALOG["wf-vae-l-16"].config


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"base": 0}, "channels and blocks must be at least 1"),
        ({"scale": (1.0,)}, "scale has 1 entries for 16 channels"),
        ({"scale": (0.0,) * 16}, "scale must not be 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("wf-vae-l-16", **fields)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="norm_type is 'groupnorm', only 'layernorm' is supported"):
        adapter("wf-vae").read_config({"norm_type": "groupnorm"}, "config.json")
