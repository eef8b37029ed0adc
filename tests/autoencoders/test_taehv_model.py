"""TAEHV's trees: swept exactly, every frame back."""

import pytest
import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.families import without_weights
from vidlatent.errors import ModelError
from vidlatent.testing import assert_streams_exactly, relative_error
from vidlatent.testing.streams import ALL_AXES

NARROW = {"encoder_width": 4, "decoder_widths": (8, 6, 4, 4), "num_blocks": 1, "latent_channels": 4}


def clip(frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, 3, frames, height, width, generator=generator, dtype=torch.double) * 2 - 1


@pytest.fixture(scope="module", params=[("taehv", 1), ("taeltx-2", 2), ("taeh3", 2)], ids=lambda p: p[0])
def ae(request: pytest.FixtureRequest) -> Autoencoder:
    preset, patch = request.param
    return build(preset, patch_size=patch, **NARROW).double()


@pytest.mark.parametrize("axes", ALL_AXES)
def test_trees_stream_exactly_in_double(ae: Autoencoder, axes: tuple[int, ...]) -> None:
    step = ae.latent_spec.stride[1]
    assert_streams_exactly(ae.encoder, clip(14, 3 * step - 1, step + 1), [axes], partitions=5)
    assert_streams_exactly(ae.decoder, torch.randn(1, 4, 4, 4, 2, dtype=torch.double), [axes], partitions=5)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 8, 17), (4, 16, 16), (5, 25, 7), (8, 16, 16)])
def test_any_clip_comes_back_in_its_own_shape(ae: Autoencoder, shape: tuple[int, int, int]) -> None:
    posterior = ae.encode(clip(*shape))
    grid = (ae.latent_spec.num_latent_frames(shape[0]), *ae.latent_spec.latent_size(*shape[1:]))
    assert posterior.mean.shape == (1, 4, *grid)
    assert posterior.logvar is None
    video = ae.decode(posterior.mean, num_frames=posterior.num_frames, size=posterior.size)
    assert video.shape == (1, 3, *shape)
    assert video.abs().max() <= 1


@torch.no_grad()
def test_nothing_decoded_depends_on_what_comes_later(ae: Autoencoder) -> None:
    latents = torch.randn(1, 4, 3, 2, 2, dtype=torch.double)
    time = ae.latent_spec.stride[0]
    assert relative_error(ae.decode(latents[:, :, :2]), ae.decode(latents)[:, :, : 1 + time]) <= 1e-12


def test_published_sizes() -> None:
    """22 MB of float16, or 41, in the authors' repository."""
    built = {n: without_weights(e.family, e.config) for n, e in CATALOG.items() if e.family == "taehv"}
    assert {name: sum(p.numel() for p in ae.parameters()) for name, ae in built.items()} == {
        "taehv": 11_315_539,
        "taehv-1.5": 11_372_012,
        "taew-2.1": 11_315_539,
        "taew-2.2": 11_418_108,
        "taeh3": 11_348_964,
        "taehv-1.5-super": 20_470_572,
        "taew-2.2-super": 20_487_996,
        "taecvx": 11_315_539,
        "taeos-1.3": 11_315_539,
        "taeltx-2": 11_759_728,
        "taeltx-2.3": 11_759_728,
        "taeltx-2.3-wide": 30_173_104,
    }
    assert {ae.exactness for ae in built.values()} == {"single pass"}
    assert built["taew-2.1"].latent_spec.stride == (4, 8, 8)
    assert built["taeltx-2"].latent_spec.stride == (8, 32, 32)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"upsample": (True, True, True)}, "as many steps"), ({"encoder_width": 0}, "sizes must be at least 1")],
)
def test_contradicting_fields_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build("taehv", **fields)
