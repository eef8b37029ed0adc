"""vidlatent-tiny: sweeps, sizes, and the shipped weights on real clips."""

from pathlib import Path

import pytest
import torch

import vidlatent as vl
from vidlatent.metrics import PatchPCA, psnr
from vidlatent.testing import assert_streams_exactly

WIDTHS = {"encoder_widths": (8, 12), "decoder_widths": (8, 12)}


def scrambled(**overrides: object) -> vl.Autoencoder:
    """A narrow one with no zero left, so that every layer shows."""
    ae = vl.build("vidlatent-tiny", **{**WIDTHS, **overrides})
    generator = torch.Generator().manual_seed(1)
    for parameter in ae.parameters():
        fan_in = max(1, parameter[0].numel())
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
    return ae


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_trees_sweep_exactly(dtype: torch.dtype) -> None:
    ae = scrambled().to(dtype)
    video = torch.rand(1, 3, 14, 41, 30, dtype=dtype) * 2 - 1
    assert_streams_exactly(ae.encoder, video, partitions=8)
    assert_streams_exactly(ae.decoder, torch.randn(1, 16, 4, 6, 4, dtype=dtype), partitions=8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 7, 9), (3, 8, 8), (4, 16, 1), (5, 17, 23), (6, 33, 8), (9, 24, 40)])
def test_any_size_comes_back(shape: tuple[int, int, int]) -> None:
    ae = scrambled()
    posterior = ae.encode(torch.rand(2, 3, *shape) * 2 - 1)
    assert posterior.mean.shape[2:] == (
        ae.latent_spec.num_latent_frames(shape[0]),
        *ae.latent_spec.latent_size(*shape[1:]),
    )
    video = ae.decode(posterior.mode(), num_frames=posterior.num_frames, size=posterior.size)
    assert video.shape == (2, 3, *shape)


@pytest.mark.parametrize("num_frames", range(1, 10))
def test_the_last_frame_always_counts(num_frames: int) -> None:
    ae = scrambled()
    video = torch.rand(1, 3, num_frames, 8, 8)
    changed = video.clone()
    changed[:, :, -1] += 0.5
    assert not torch.equal(ae.encode(video).mean, ae.encode(changed).mean)


def test_past_latents_do_not_see_the_future() -> None:
    ae = scrambled().double()
    video = torch.rand(1, 3, 13, 16, 16, dtype=torch.double)
    changed = video.clone()
    changed[:, :, 9:] = 0
    before, after = ae.encode(video).mean, ae.encode(changed).mean
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3:], after[:, :, 3:])


def test_the_package_ships_weights() -> None:
    ae = vl.load("vidlatent-tiny")
    assert (ae.latent_spec.channels, ae.latent_spec.stride) == (16, (4, 8, 8))
    assert len(ae.latent_spec.mean) == len(ae.latent_spec.std) == 16
    file = Path(vl.__file__).parent / "autoencoders/tiny/weights/vidlatent-tiny.safetensors"
    assert file.stat().st_size <= 20e6


@pytest.mark.data
def test_the_shipped_weights_beat_the_linear_code(data_dir: Path) -> None:
    """On three clips not trained on, against a linear code fitted to those very clips: harder than the fair one."""
    ae, pca, videos = vl.load("vidlatent-tiny"), PatchPCA((4, 8, 8), 16), []
    for name in ("mdn_flower_540p.mp4", "intel_asl_walk_480p.mkv", "sam2_cups_720p.mp4"):
        with vl.open_video(data_dir / "natural/test" / name, size=(256, 256), chunk_frames=17) as source:
            videos.append(vl.to_float(next(iter(source)).frames))
        pca.add(videos[-1])
    pca.solve()
    ours = [psnr(ae.decode(ae.encode(video).mode()).clamp(-1, 1), video) for video in videos]
    linear = [psnr(pca.reconstruct(video), video) for video in videos]
    assert sum(ours) / 3 >= sum(linear) / 3 + 2.0


@pytest.mark.data
def test_float16_latents_cost_next_to_nothing(data_dir: Path) -> None:
    ae = vl.load("vidlatent-tiny")
    with vl.open_video(data_dir / "natural/test/mdn_flower_540p.mp4", size=(256, 256), chunk_frames=17) as source:
        video = vl.to_float(next(iter(source)).frames)
    latents = ae.encode(video).mode()
    full, half = (psnr(ae.decode(z).clamp(-1, 1), video) for z in (latents, latents.half().float()))
    assert abs(full - half) < 1e-3
