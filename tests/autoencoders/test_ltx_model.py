"""LTX's trees: swept exactly, noise and timestep by configuration, one first frame."""

import copy

import pytest
import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.families import without_weights
from vidlatent.errors import ModelError
from vidlatent.streaming import H, Plan, T
from vidlatent.testing import assert_streams_exactly, relative_error
from vidlatent.testing.streams import ALL_AXES

_FOLDS = {
    "encoder_widths": (4, 8, 16, 16, 16),
    "encoder_blocks": (1, 1, 1, 1, 1),
    "decoder_widths": (8, 16, 32),
    "decoder_blocks": (1, 1, 1, 1),
}
NARROW = {
    "ltx-video-0.9.0": {"encoder_widths": (4, 6, 8, 8), "decoder_widths": (4, 6, 8, 8)},
    "ltx-video-0.9.1": {
        "encoder_widths": (4, 6, 8, 8),
        "decoder_widths": (4, 8, 16),
        "decoder_blocks": (1, 1, 1, 1),
        "upsample_residual": (False, False, False),
        "noise_seed": 3,
    },
    "ltx-video-0.9.5": _FOLDS,
    "ltx-2": {**_FOLDS, "encoder_widths": (8, 16, 16, 16)},
    "ltx-2.3": {
        "encoder_widths": (8, 16, 16, 16),
        "encoder_blocks": (1, 1, 1, 1, 1),
        "decoder_widths": (4, 8, 8, 16),
        "decoder_blocks": (1, 1, 1, 1, 1),
    },
}
_SHALLOW = {"encoder_blocks": (1, 1, 1, 1, 1), "decoder_blocks": (1, 1, 1, 1, 1)}


@torch.no_grad()
def narrow(preset: str) -> Autoencoder:
    shallow = _SHALLOW if preset == "ltx-video-0.9.0" else {}
    ae = build(preset, latent_channels=4, patch_size=1, **{**shallow, **NARROW[preset]})
    for name, parameter in ae.named_parameters():
        if ".noise" in name:
            parameter.fill_(0.5)
    return ae


def clip(frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, 3, frames, height, width, generator=generator, dtype=torch.double) * 2 - 1


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize("preset", NARROW)
def test_trees_stream_exactly_in_double(preset: str, axes: tuple[int, ...]) -> None:
    ae = narrow(preset).double()
    assert ae.latent_spec.stride == (8, 8, 8)
    assert_streams_exactly(ae.encoder, clip(15, 23, 9), [axes], partitions=4)
    latents = torch.randn(1, 4, 4, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    assert_streams_exactly(ae.decoder, latents, [axes], partitions=4)


@torch.no_grad()
@pytest.mark.parametrize("preset", NARROW)
def test_any_clip_comes_back_in_its_own_shape(preset: str) -> None:
    ae = narrow(preset)
    for shape in [(1, 1, 1), (2, 8, 17), (9, 16, 16), (10, 25, 7)]:
        posterior = ae.encode(clip(*shape))
        grid = (ae.latent_spec.num_latent_frames(shape[0]), *ae.latent_spec.latent_size(*shape[1:]))
        assert posterior.mean.shape == posterior.logvar.shape == (1, 4, *grid)
        assert torch.equal(posterior.logvar, posterior.logvar[:, :1].expand_as(posterior.logvar))
        video = ae.decode(posterior.mean, num_frames=posterior.num_frames, size=posterior.size)
        assert video.shape == (1, 3, *shape)
        assert video.abs().max() <= 1


@torch.no_grad()
def test_the_first_latent_is_that_of_the_first_frame_alone() -> None:
    ae = narrow("ltx-video-0.9.5").double()
    video = clip(17, 16, 16)
    assert relative_error(ae.encode(video).mean[:, :, :1], ae.encode(video[:, :, :1]).mean) <= 1e-12


@torch.no_grad()
def test_noise_is_drawn_by_seed_and_place() -> None:
    ae, latents = narrow("ltx-video-0.9.1"), torch.randn(1, 4, 3, 3, 2)
    plain, other = narrow_with(ae, noise_seed=None), narrow_with(ae, noise_seed=4)
    assert torch.equal(ae.decode(latents), ae.decode(latents))
    assert relative_error(ae.decode(latents, plan=Plan((H, T), chunk=1, strip=1)), ae.decode(latents)) <= 1e-5
    assert (ae.decode(latents) - plain.decode(latents)).abs().max() > 1e-3
    assert (ae.decode(latents) - other.decode(latents)).abs().max() > 1e-3


def narrow_with(ae: Autoencoder, **changes: object) -> Autoencoder:
    fields = {**vars(ae.config), **changes}
    other = build("ltx-video-0.9.1", **fields)
    other.load_state_dict(ae.state_dict())
    return other


@torch.no_grad()
def test_borrowed_weights_are_stored_once_and_copied_along() -> None:
    ae = narrow("ltx-video-0.9.1")
    twin = copy.deepcopy(ae)
    for parameter in twin.parameters():
        parameter.mul_(1.5)
    latents = torch.randn(1, 4, 2, 2, 2)
    want = narrow_with(ae)
    want.load_state_dict({name: 1.5 * tensor for name, tensor in ae.state_dict().items()})
    assert torch.equal(twin.decode(latents), want.decode(latents))
    assert len({p.data_ptr() for p in ae.parameters()}) == len(ae.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("preset", ["ltx-video-0.9.1", "ltx-2"])
def test_a_budget_does_not_change_the_answer(preset: str) -> None:
    ae, latents = narrow(preset), torch.randn(1, 4, 5, 12, 12)
    whole, needed = ae.decode(latents), ae.plan(tuple(latents.shape), 1 << 40, "decode").peak_bytes
    assert needed is not None
    plan = ae.plan(tuple(latents.shape), needed - 1, "decode")
    assert plan.axes
    assert relative_error(ae.decode(latents, plan=plan), whole) <= 1e-5


def test_published_sizes() -> None:
    names = [name for name in CATALOG if name.startswith("ltx")]
    built = {name: without_weights(CATALOG[name].family, CATALOG[name].config) for name in names}
    assert {name: sum(p.numel() for p in ae.parameters()) for name, ae in built.items()} == {
        "ltx-video-0.9.0": 419_193_649,
        "ltx-video-0.9.1": 934_976_434,
        "ltx-video-0.9.5": 1_246_913_522,
        "ltx-2": 1_222_479_601,
        "ltx-2.3": 726_105_969,
        "ltx-2.5": 736_070_513,
    }
    assert all(ae.latent_spec.stride == (8, 32, 32) and ae.exactness == "single pass" for ae in built.values())


@pytest.mark.parametrize(
    ("preset", "fields", "said"),
    [
        ("ltx-video-0.9.0", {"encoder_blocks": (1, 1)}, "encoder_widths must have 2 entries"),
        ("ltx-video-0.9.0", {"inject_noise": (True,) * 5}, "follows one that gives 512"),
        ("ltx-video-0.9.0", {"mean": (0.0,)}, "mean must have 128 entries"),
        ("ltx-video-0.9.0", {"downsample_kinds": ("conv", "conv", "spatial", "conv")}, "all 'conv' or none"),
        ("ltx-2", {"upsample_kinds": ("conv",) * 3}, "upsample_kinds are spatial, temporal"),
        ("ltx-2", {"decoder_widths": (256, 512, 1025)}, "do not fit"),
        ("ltx-2", {"encoder_widths": (256, 512, 1024, 2047)}, "do not fold"),
        ("ltx-2", {"decoder_widths": (4, 8, 12), "upsample_factor": (1, 2, 1)}, "do not fit"),
        ("ltx-2", {"decoder_widths": (10, 20, 40)}, "do not unfold"),
    ],
)
def test_contradicting_fields_are_refused(preset: str, fields: dict, said: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=said):
        build(preset, **fields)
