"""The image autoencoder equals diffusers' on every frame, and reads its authors' and diffusers' earlier files."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from family_checks import (
    assert_equal,
    assert_every_tensor_has_its_place,
    assert_files_go_both_ways,
    assert_trees_stream,
    noise,
    ours_of,
    randomise,
    unclamped,
)
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build, load, models, save_pretrained
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError
from vidlatent.testing.streams import ALL_AXES

PRESETS = [name for name in models() if CATALOG[name].family == "image-kl"]
NARROW = {"widths": (8, 16, 16), "groups": 4}


def reference(preset: str, **changes: object) -> AutoencoderKL:
    """The published architecture of a preset, narrowed unless `changes` say otherwise."""
    values = adapter("image-kl").write_config(CATALOG[preset].config)
    changes = changes or {"block_out_channels": [16, 32, 64, 64], "norm_num_groups": 16}
    with torch.no_grad():
        return randomise(AutoencoderKL(**{k: v for k, v in values.items() if k[0] != "_"} | changes))


def on_frames(apply: object, clip: Tensor) -> Tensor:
    """What a model of images makes of a clip."""
    return torch.stack([apply(frame) for frame in clip.unbind(2)], 2)


def assert_equal_models(ours: Autoencoder, theirs: AutoencoderKL, clip: Tensor, tolerance: float) -> None:
    want = on_frames(lambda frame: theirs.encode(frame).latent_dist.parameters, clip)
    posterior = ours.encode(clip)
    assert_equal(torch.cat([posterior.mean, posterior.logvar], 1), want, tolerance)
    latents = want.chunk(2, 1)[0]
    assert_equal(unclamped(ours, latents), on_frames(lambda frame: theirs.decode(frame).sample, latents), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_models_are_equal(preset: str, tmp_path: Path) -> None:
    theirs = reference(preset)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 3, 32, 48), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["sd", "flux.1"])
def test_the_published_width_is_equal(preset: str, tmp_path: Path) -> None:
    theirs = reference(preset, layers_per_block=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 2, 32, 48), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", [True, False])
def test_in_double_only_the_order_of_summation_differs(attention: bool, tmp_path: Path) -> None:
    shape = {"block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4, "mid_block_add_attention": attention}
    theirs = reference("sd", **shape).double()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, noise(3, 2, 16, 24, dtype=torch.double), 1e-12)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly(axes: tuple[int, ...]) -> None:
    assert_trees_stream(build("sd", **NARROW), (3, 19, 8), (3, 5, 2), axes)


@torch.no_grad()
def test_any_clip_comes_back_in_its_own_shape() -> None:
    ae = build("sd", **NARROW)
    posterior = ae.encode(noise(3, 5, 13, 6))
    assert posterior.mean.shape == (1, 4, 5, 4, 2)
    assert ae.decode(posterior.mean, num_frames=5, size=posterior.size).shape == (1, 3, 5, 13, 6)


@pytest.mark.parametrize("preset", PRESETS)
def test_latents_are_normalised_as_pipelines_do(preset: str) -> None:
    ae, latents = build(preset, **NARROW), noise(CATALOG[preset].config.latent_channels, 1, 2, 2)
    shift = CATALOG[preset].config.shift_factor or 0.0
    want = (latents - shift) * CATALOG[preset].config.scaling_factor
    torch.testing.assert_close(ae.normalize(latents), want)
    torch.testing.assert_close(ae.denormalize(want), latents)


def test_statistics_per_channel_go_before_the_factor() -> None:
    """As the pipeline of SDXL does where a model has them: `latents * std / scaling_factor + mean`."""
    mean, std, given = (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0), noise(4, 1, 2, 2)
    ae = build("sdxl", **NARROW, mean=mean, std=std, scaling_factor=0.5)
    column = [torch.tensor(values).view(-1, 1, 1, 1) for values in (mean, std)]
    torch.testing.assert_close(ae.denormalize(given), given * column[1] / 0.5 + column[0])


@pytest.mark.parametrize("preset", ["sd", "flux.1"])
def test_files_go_both_ways(preset: str, tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(preset), tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_tensor_of_the_published_size_has_its_place(preset: str) -> None:
    assert_every_tensor_has_its_place(AutoencoderKL, "image-kl", CATALOG[preset].config)


@torch.no_grad()
def test_the_authors_names_are_those_that_diffusers_converts(tmp_path: Path) -> None:
    ours = build("sd", **NARROW, seed=3)
    links = adapter("image-kl").links(ours.config, shapes_of(ours), "original")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    config = adapter("image-kl").write_config(ours.config)
    theirs = AutoencoderKL(**{k: v for k, v in config.items() if k[0] != "_"}).eval()
    theirs.load_state_dict(convert_ldm_vae_checkpoint(dict(original), config))
    clip = noise(3, 1, 16, 16)
    assert_equal(ours.encode(clip).mean[:, :, 0], theirs.encode(clip[:, :, 0]).latent_dist.mean, 1e-5)
    torch.save(original, tmp_path / "vae.pt")
    save_pretrained(build("sd", **NARROW), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "vae.pt").fingerprint == ours.fingerprint


@torch.no_grad()
def test_diffusers_names_of_2022_load(tmp_path: Path) -> None:
    ours = build("sd", **NARROW, seed=3)
    save_pretrained(ours, tmp_path)
    links = adapter("image-kl").links(ours.config, shapes_of(ours), "early")
    torch.save({link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}, tmp_path / "old.pt")
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in torch.load(tmp_path / "old.pt")
    assert load(tmp_path, weights=tmp_path / "old.pt").fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": ()}, "must be at least 1"),
        ({"widths": (32, 48)}, "widths \\[48\\] do not divide into 32 groups"),
        ({"scaling_factor": 0.0}, "scaling_factor must not be 0"),
        ({"mean": (0.0,)}, "mean has 1 entries for 4 channels"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("sd", **fields)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"up_block_types": ["AttnUpDecoderBlock2D"]}, "up_block_types is .* only 'UpDecoderBlock2D' is supported"),
        ({"act_fn": "relu"}, "act_fn is 'relu', only 'silu' is supported"),
        ({"magic": 1}, "unknown keys magic; AutoencoderKL has"),
    ],
)
def test_other_architectures_are_refused(values: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        adapter("image-kl").read_config(values, "config.json")
