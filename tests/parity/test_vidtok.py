"""VidTok equals diffusers' at the same random weights, the clip padded in front as its `forward` does."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderVidTok
from diffusers.models.autoencoders import autoencoder_vidtok
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
from torch import Tensor
from upstream_references import SOURCES, answers, inputs, ours_at
from upstream_references import reference as authors_answers

from vidlatent.autoencoders import Autoencoder, build, load, save_checkpoint
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter, save_pretrained
from vidlatent.autoencoders.families import shapes_of
from vidlatent.errors import ModelError
from vidlatent.streaming import H, T
from vidlatent.testing.streams import ALL_AXES

NARROW = {"base": 4, "multipliers": (1, 1, 2), "num_res_blocks": 1}
NAMES = ["vidtok-kl-488-4", "vidtok-fsq-488-32768", "vidtok-kl-noncausal-488-4"]


def reference(**config: object) -> AutoencoderVidTok:
    values = {"ch": 16, "ch_mult": [1, 1, 2, 2], "num_res_blocks": 1, **config}
    with torch.no_grad():
        return randomise(AutoencoderVidTok(**values))


def their_moments(theirs: AutoencoderVidTok, clip: Tensor) -> Tensor:
    """The encoder's answer, before it is rounded."""
    before = theirs.temporal_compression_ratio - 1 if theirs.is_causal else 0
    return theirs._encode(F.pad(clip, (0, 0, 0, 0, before, 0), mode="replicate"))


def assert_equal_models(ours: Autoencoder, theirs: AutoencoderVidTok, frames: int, tolerance: float) -> None:
    clip = noise(3, frames, 16, 32, dtype=theirs.dtype)
    want = their_moments(theirs, clip)
    assert_equal(ours.encoder[:-1](ours.prepare(clip)), want, tolerance)
    latents = want[:, : theirs.config.z_channels]
    assert_equal(unclamped(ours, latents), theirs.decode(latents), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 13])
def test_causal_models_are_equal(frames: int, tmp_path: Path) -> None:
    theirs = reference()
    assert_equal_models(ours_of(theirs, tmp_path), theirs, frames, 1e-5)


@torch.no_grad()
def test_models_that_are_not_causal_are_equal(tmp_path: Path) -> None:
    theirs = reference(is_causal=False)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 16, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {"tempo_ds": [1], "tempo_us": [2]},
        {"tempo_ds": [0, 1, 2], "tempo_us": [1, 2, 3]},
        {"spatial_ds": [1, 2], "spatial_us": [1, 2]},
        {"ch_mult": [1, 1, 2, 2, 2], "z_channels": 6},
    ],
)
def test_other_steps_are_equal(config: dict, tmp_path: Path) -> None:
    theirs = reference(**config)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 9, 1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_the_published_width_is_equal(tmp_path: Path) -> None:
    theirs = reference(ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2)
    assert_equal_models(ours_of(theirs, tmp_path), theirs, 5, 1e-5)


class _Double:
    """torch, whose float32 is not less than float64: theirs rounds before it repeats or interpolates."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_in_double_only_the_order_of_summation_differs(
    causal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = reference(is_causal=causal).double()
    ours = ours_of(theirs, tmp_path)
    monkeypatch.setattr(autoencoder_vidtok, "torch", _Double())
    assert_equal_models(ours, theirs, 9 if causal else 16, 1e-12)


@torch.no_grad()
def test_codes_are_theirs(tmp_path: Path) -> None:
    theirs = reference(regularizer="fsq", z_channels=5, codebook_size=8**5, double_z=False)
    ours, clip = ours_of(theirs, tmp_path), noise(3, 5, 32, 32)
    before = theirs.temporal_compression_ratio - 1
    codes, indices = theirs.encode(F.pad(clip, (0, 0, 0, 0, before, 0), mode="replicate"))
    posterior = ours.encode(clip)
    assert posterior.logvar is None
    torch.testing.assert_close(posterior.mean, codes)
    assert torch.equal(ours.encoder[-1].codes(posterior.mean)[0], indices.long())


@torch.no_grad()
def test_version_1_0_meets_its_authors_answers(tmp_path: Path) -> None:
    """diffusers does not have it; what the authors' code computed is in references/."""
    ours = ours_at("vidtok", SOURCES["vidtok"].narrow)
    got = answers(ours, *inputs("vidtok"))
    for name, want in authors_answers("vidtok").items():
        assert_equal(got[name], want, 1e-5)
    with pytest.raises(ModelError, match=r"version 1.1 only"):
        save_pretrained(ours, tmp_path)


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize("name", [NAMES[0], NAMES[2]])
def test_trees_stream_exactly(name: str, axes: tuple[int, ...]) -> None:
    assert_trees_stream(build(name, **NARROW), (6, 5, 4), (3, 2, 1), axes)


def test_codes_stream_exactly() -> None:
    assert_trees_stream(build(NAMES[1], **NARROW), (6, 5, 4), (3, 2, 1), (T, H))


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_any_clip_comes_back_in_its_own_shape(name: str) -> None:
    ae = build(name, **NARROW)
    posterior = assert_any_clip_comes_back(ae, 6, (2 if "non" in name else 3, 3, 4))
    assert torch.equal(ae.normalize(posterior.mean), posterior.mean)


@pytest.mark.parametrize(
    "config",
    [
        {"is_causal": False, "z_channels": 3},
        {"regularizer": "fsq", "z_channels": 5, "codebook_size": 8**5, "double_z": False},
        {"tempo_ds": [1], "tempo_us": [2]},
    ],
)
def test_files_go_both_ways(config: dict, tmp_path: Path) -> None:
    assert_files_go_both_ways(reference(**config), tmp_path)


@pytest.mark.parametrize("name", ["vidtok-kl-288-8", "vidtok-kl-noncausal-488-4"])
def test_every_tensor_of_the_published_sizes_has_its_place(name: str) -> None:
    assert_every_tensor_has_its_place(AutoencoderVidTok, "vidtok", CATALOG[name].config)


@torch.no_grad()
def test_the_authors_checkpoint_loads(tmp_path: Path) -> None:
    """Their names are diffusers'; losses come along."""
    ours = build("vidtok-kl-488-4", **NARROW, seed=3)
    links = adapter("vidtok").links(ours.config, shapes_of(ours), "diffusers")
    original = {link.theirs: link.write(ours.state_dict()[link.ours]) for link in links}
    assert original["encoder.down_temporal.0.block.0.conv1.conv.weight"].shape == (4, 4, 3)
    assert original["decoder.up_temporal.1.upsample.mix_factor"].shape == (1,)
    torch.save({"state_dict": original | {"loss.logvar": torch.zeros(())}}, tmp_path / "vidtok.ckpt")
    save_pretrained(build("vidtok-kl-488-4", **NARROW), tmp_path / "folder")
    assert load(tmp_path / "folder", weights=tmp_path / "vidtok.ckpt").fingerprint == ours.fingerprint
    save_checkpoint(ours, tmp_path / "ours.safetensors")
    assert load(tmp_path / "ours.safetensors").fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"multipliers": ()}, "must be at least 1"),
        ({"time_down": (1,)}, "as many steps down as up"),
        ({"time": "both"}, "time is 'both': choose 'causal'"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("vidtok-kl-488-4", **fields)


def test_contradicting_keys_are_refused() -> None:
    with pytest.raises(ModelError, match="double_z is True, only False is supported"):
        adapter("vidtok").read_config({"regularizer": "fsq", "double_z": True}, "config.json")
