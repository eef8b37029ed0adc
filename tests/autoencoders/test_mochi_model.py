"""Mochi's trees: swept exactly, its first frame single, its future unseen."""

import pytest
import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.families import without_weights
from vidlatent.errors import ModelError
from vidlatent.testing import assert_streams_exactly, relative_error
from vidlatent.testing.streams import ALL_AXES

WIDTHS = {"encoder_widths": (32, 32, 32, 32), "decoder_widths": (32, 32, 32, 32), "blocks": (1, 1, 1, 1, 1)}
NARROW = {**WIDTHS, "latent_channels": 4, "mean": (), "std": ()}


def clip(frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, 3, frames, height, width, generator=generator, dtype=torch.double) * 2 - 1


@pytest.fixture(scope="module")
def ae() -> Autoencoder:
    return build("mochi-1", **NARROW).double()


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly_in_double(ae: Autoencoder, axes: tuple[int, ...]) -> None:
    assert_streams_exactly(ae.encoder, clip(12, 23, 9), [axes], partitions=4)
    assert_streams_exactly(ae.decoder, torch.randn(1, 4, 4, 4, 2, dtype=torch.double), [axes], partitions=4)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 8, 17), (7, 16, 16), (8, 25, 7)])
def test_any_clip_comes_back_in_its_own_shape(ae: Autoencoder, shape: tuple[int, int, int]) -> None:
    posterior = ae.encode(clip(*shape))
    grid = (ae.latent_spec.num_latent_frames(shape[0]), *ae.latent_spec.latent_size(*shape[1:]))
    assert posterior.mean.shape == posterior.logvar.shape == (1, 4, *grid)
    video = ae.decode(posterior.mean, num_frames=posterior.num_frames, size=posterior.size)
    assert video.shape == (1, 3, *shape)
    assert video.abs().max() <= 1


@torch.no_grad()
def test_nothing_depends_on_what_comes_later(ae: Autoencoder) -> None:
    video, latents = clip(13, 16, 16), torch.randn(1, 4, 3, 2, 2, dtype=torch.double)
    other = torch.cat([video[:, :, :7], -video[:, :, 7:]], 2)
    assert relative_error(ae.encode(other).mean[:, :, :2], ae.encode(video).mean[:, :, :2]) <= 1e-12
    assert relative_error(ae.encode(video[:, :, :1]).mean, ae.encode(video).mean[:, :, :1]) <= 1e-12
    assert relative_error(ae.decode(latents[:, :, :2]), ae.decode(latents)[:, :, :7]) <= 1e-12


def test_published_size() -> None:
    ae = without_weights("mochi", CATALOG["mochi-1"].config)
    assert sum(p.numel() for p in ae.parameters()) == 459_748_611
    assert ae.latent_spec.stride == (6, 8, 8)
    assert ae.exactness == "with barrier"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temporal": (1, 2)}, "temporal must have 3 entries"),
        ({"encoder_widths": (16, 32, 32, 32)}, "multiples of 32, got 16"),
        ({"latent_channels": 4}, "mean must have 4 entries"),
        ({"blocks": (1, 1)}, "blocks must have 5"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("mochi-1", **fields)
