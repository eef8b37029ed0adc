"""Wan's trees: swept exactly, any clip, one first frame, causal."""

import pytest
import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.errors import ModelError
from vidlatent.streaming import Plan, T
from vidlatent.testing import assert_streams_exactly, relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {
    "wan-2.1": {"base_dim": 8, "latent_channels": 4, "num_res_blocks": 1, "mean": (), "std": ()},
    "wan-2.2": {"base_dim": 8, "decoder_base_dim": 8, "latent_channels": 6, "num_res_blocks": 1, "mean": (), "std": ()},
}
PRESETS = list(NARROW)


def clip(frames: int, height: int, width: int, dtype: torch.dtype = torch.float) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, 3, frames, height, width, generator=generator, dtype=dtype) * 2 - 1


@pytest.fixture(scope="module", params=PRESETS)
def narrow(request: pytest.FixtureRequest) -> Autoencoder:
    return build(request.param, **NARROW[request.param])


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize("preset", PRESETS)
def test_trees_stream_exactly_in_double(preset: str, axes: tuple[int, ...]) -> None:
    ae = build(preset, **NARROW[preset]).double()
    step = ae.latent_spec.stride[1]
    assert_streams_exactly(ae.encoder, clip(9, 3 * step - 1, step + 1, torch.double), [axes], partitions=5)
    latents = torch.randn(1, ae.latent_spec.channels, 4, 4, 2, dtype=torch.double)
    assert_streams_exactly(ae.decoder, latents, [axes], partitions=5)


def test_trees_stream_exactly_in_float(narrow: Autoencoder) -> None:
    step = narrow.latent_spec.stride[1]
    assert_streams_exactly(narrow.encoder, clip(7, 2 * step, step), partitions=3)
    assert_streams_exactly(narrow.decoder, torch.randn(1, narrow.latent_spec.channels, 3, 3, 2), partitions=3)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "height", "width"), [(t, 8 + 5 * t, 29 - t) for t in range(1, 10)] + [(2, 1, 1)])
def test_any_clip_comes_back_in_its_own_shape(narrow: Autoencoder, frames: int, height: int, width: int) -> None:
    posterior = narrow.encode(clip(frames, height, width))
    spec = narrow.latent_spec
    grid = (spec.num_latent_frames(frames), *spec.latent_size(height, width))
    assert posterior.mean.shape == posterior.logvar.shape == (1, spec.channels, *grid)
    video = narrow.decode(posterior.mean, num_frames=posterior.num_frames, size=posterior.size)
    assert video.shape == (1, 3, frames, height, width)
    assert video.abs().max() <= 1


@torch.no_grad()
def test_the_first_latent_is_that_of_the_first_frame_alone(narrow: Autoencoder) -> None:
    video = clip(9, 16, 16)
    whole, first = narrow.encode(video).mean, narrow.encode(video[:, :, :1]).mean
    assert relative_error(whole[:, :, :1], first) <= 1e-5


@torch.no_grad()
def test_nothing_depends_on_what_comes_later(narrow: Autoencoder) -> None:
    video, latents = clip(9, 16, 16), torch.randn(1, narrow.latent_spec.channels, 3, 1, 1)
    other = torch.cat([video[:, :, :5], -video[:, :, 5:]], 2)
    assert relative_error(narrow.encode(other).mean[:, :, :2], narrow.encode(video).mean[:, :, :2]) <= 1e-5
    assert relative_error(narrow.decode(latents[:, :, :2]), narrow.decode(latents)[:, :, :5]) <= 1e-5


@torch.no_grad()
def test_a_plan_does_not_change_the_answer(narrow: Autoencoder) -> None:
    video, plan = clip(9, 32, 16), Plan((T,), chunk=2)
    whole = narrow.encode(video)
    assert relative_error(narrow.encode(video, plan=plan).mean, whole.mean) <= 1e-5
    assert relative_error(narrow.decode(whole.mean, plan=plan), narrow.decode(whole.mean)) <= 1e-5


def test_published_sizes() -> None:
    """Parameters as counted in the released checkpoints, 254 MB and 1.41 GB of bfloat16."""
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in build(name).parameters()) for name in PRESETS}
    assert counts == {"wan-2.1": 126_892_531, "wan-2.2": 704_688_668}
    assert WanConfig().stride == (4, 8, 8)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"base_dim": 0}, "base_dim must be at least 1, got 0"),
        ({"decoder_base_dim": -4}, "decoder_base_dim"),
        ({"multipliers": (1, 2)}, "temporal_downsample needs one entry between"),
        ({"multipliers": ()}, "temporal_downsample"),
        ({"latent_channels": 4}, "mean has 16 entries for 4 latent channels"),
        ({"residual_levels": True, "multipliers": (2, 3, 4, 4), "base_dim": 7}, "do not average"),
        ({"residual_levels": True, "multipliers": (1, 1, 1, 3)}, "do not"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("wan-2.1", **fields)
