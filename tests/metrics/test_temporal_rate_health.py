"""Measures of motion, of rate and of latents against signals whose answers are known."""

import math

import pytest
import torch
from torch import Tensor

from vidlatent import metrics
from vidlatent.errors import InputError
from vidlatent.metrics import health


def scene(frames: int, *, dx: float = 0.0, dy: float = 0.0, size: int = 64) -> Tensor:
    """Smooth texture that moves by (dx, dy) pixels a frame."""
    t, y, x = (v.float() for v in torch.meshgrid(*(torch.arange(n) for n in (frames, size, size)), indexing="ij"))
    x, y = x - dx * t, y - dy * t
    planes = [
        torch.sin(0.21 * x + 0.1 * y + k) * 0.4 + torch.cos(0.17 * y - 0.05 * x) * 0.3 + torch.sin(0.4 * x) * 0.1
        for k in range(3)
    ]
    return torch.stack(planes)[None]


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (1.5, -0.7), (4.0, 2.0), (-6.0, 3.0)])
def test_flow_finds_a_translation(dx: float, dy: float) -> None:
    clip = scene(2, dx=dx, dy=dy)
    found = metrics.optical_flow(clip[:, :, 0], clip[:, :, 1])
    inside = found[..., 12:-12, 12:-12]
    expected = torch.tensor([dx, dy]).view(1, 2, 1, 1)
    assert float((inside - expected).norm(dim=1).mean()) < 0.15
    moved = metrics.warp(clip[:, :, 1], found)[..., 12:-12, 12:-12]
    assert float((moved - clip[:, :, 0, 12:-12, 12:-12]).abs().mean()) < 0.02


def test_flow_of_a_large_picture_is_found_at_half_its_size_and_reaches_twice_as_far() -> None:
    clip = torch.nn.functional.interpolate(scene(2, dx=3.0, dy=-2.0, size=300)[0].transpose(0, 1), (601, 1202))
    found = metrics.optical_flow(clip[:1], clip[1:])
    assert found.shape == (1, 2, 601, 1202)
    inside = found[..., 48:-48, 48:-48]
    expected = torch.tensor([3.0 * 1202 / 300, -2.0 * 601 / 300]).view(1, 2, 1, 1)
    assert float((inside - expected).norm(dim=1).mean()) < 0.5


def test_motion_is_found_once_and_kept_within_its_bytes(flows_found: list[Tensor]) -> None:
    want = scene(5, dx=1.0)
    errors = [want + 0.05 * torch.randn(want.shape, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    alone = [metrics.warped_error(got, want) for got in errors]
    for most_bytes, times in ((2**28, 4), (2 * 64 * 64 * 4 * 2, 6), (0, 8)):
        flows_found.clear()
        motion = metrics.Motion(most_bytes)
        for got, expected in zip(errors, alone, strict=True):
            measure = metrics.WarpedError(motion)
            measure.update(got, want)
            assert measure.compute() == expected
        assert len(flows_found) == times


def test_flicker_is_the_change_of_the_error() -> None:
    want = scene(5, dx=1.0)
    assert metrics.flicker(want + 0.1, want) == pytest.approx(0, abs=1e-4)
    swing = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).view(1, 1, 5, 1, 1) * 0.02
    assert metrics.flicker(want + swing, want) == pytest.approx(0.04 * 127.5, rel=1e-4)
    with pytest.raises(InputError, match="nothing was measured"):
        metrics.flicker(want[:, :, :1], want[:, :, :1])


def test_warped_error_forgives_errors_that_move_along() -> None:
    want = scene(4, dx=2.0)
    pattern = 0.15 * torch.sin(1.1 * torch.arange(64) - 0.0).view(1, 1, 1, 1, 64)
    along = torch.stack([pattern[..., 0, :].roll(2 * t, -1) for t in range(4)], 2)
    still = metrics.warped_error(want + pattern, want)
    moving = metrics.warped_error(want + along, want)
    assert moving < still / 2
    measure = metrics.WarpedError()
    measure.update(want, want)
    assert measure.compute() == pytest.approx(measure.reference())


def test_group_psnr_tells_positions() -> None:
    want = torch.zeros(1, 3, 9, 8, 8)
    got = want.clone()
    got[:, :, [1, 5]] = 0.2
    got[:, :, 0] = 0.02
    values = metrics.GroupPSNR(4)
    values.update(got, want)
    first, second, third, *_ = values.compute()
    assert first == pytest.approx(10 * math.log10(4 / 0.02**2), abs=1e-4)
    assert second == pytest.approx(10 * math.log10(4 / 0.2**2), abs=1e-4)
    assert third is not None
    assert third > 200
    short = metrics.GroupPSNR(2, "grouped")
    short.update(got[:, :, :1], want[:, :, :1])
    assert short.compute()[1] is None


def test_seams_are_seen_where_they_are() -> None:
    want = torch.zeros(1, 3, 8, 32, 32)
    noise = 0.01 * torch.randn(want.shape, generator=torch.Generator().manual_seed(0))
    tiles = (torch.arange(32) // 8 % 2).float() * 0.2
    for borders, step in (
        ((None, 8, None), tiles.view(1, 1, 1, 32, 1)),
        ((None, None, 8), tiles.view(1, 1, 1, 1, 32)),
        ((4, None, None), (torch.arange(8) // 4).float().view(1, 1, 8, 1, 1) * 0.2),
    ):
        measure, clean = metrics.Seams(borders), metrics.Seams(borders)
        measure.update(want + noise + step, want)
        clean.update(want + noise, want)
        seen, unseen = measure.compute(), clean.compute()
        assert seen is not None
        assert unseen is not None
        assert seen > 10
        assert unseen == pytest.approx(1, abs=0.15)
    with pytest.raises(InputError, match="at least one axis"):
        metrics.Seams((None, None, None))


def test_entropy_of_known_codes() -> None:
    entropy = metrics.CodeEntropy(0, 7)
    entropy.update(torch.arange(8).repeat(100))
    assert entropy.compute() == pytest.approx(3 * 800)
    assert entropy.used() == 1
    channels = metrics.CodeEntropy(-128, 127, 2)
    channels.update(torch.stack([torch.zeros(64), torch.arange(64) % 4])[None].to(torch.int8))
    assert channels.compute() == pytest.approx(2 * 64)
    with pytest.raises(InputError, match="beyond"):
        metrics.CodeEntropy(0, 3).update(torch.tensor([4]))


def test_int8_codes_keep_latents() -> None:
    latents = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 + 1
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    again = metrics.from_int8_codes(metrics.int8_codes(latents, mean, std), mean, std)
    assert float((again - latents).abs().max()) < 2 * 5 / 127
    assert metrics.values_per_pixel((16, 3, 4, 4), (9, 32, 32)) == pytest.approx(16 * 48 / 9216)


def test_statistics_of_a_known_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(1, 2, 20, 40, 40, generator=generator)
    latents = torch.cat([base[:, :1] * 2 + 1, base[:, :1], torch.rand(base[:, :1].shape, generator=generator)], 1)
    measure = metrics.LatentStatistics(3)
    measure.update(latents)
    found = measure.compute()
    assert found["mean"] == pytest.approx([1, 0, 0.5], abs=0.03)
    assert found["std"] == pytest.approx([2, 1, 1 / math.sqrt(12)], rel=0.02)
    assert found["kurtosis"] == pytest.approx([3, 3, 1.8], abs=0.1)
    assert found["eigenvalues"][0] == pytest.approx(5 / (5 + 1 / 12), rel=0.01)
    assert found["eigenvalues"][2] == pytest.approx(0, abs=1e-9)


def test_spectrum_is_flat_for_noise_and_low_for_waves() -> None:
    noise = metrics.Spectrum(8)
    noise.update(torch.randn(1, 4, 6, 32, 40, generator=torch.Generator().manual_seed(0)))
    values = [v for v in noise.compute() if v is not None]
    assert values == pytest.approx([1.0] * len(values), abs=0.15)
    waves = metrics.Spectrum(8)
    waves.update(scene(2))
    assert waves.high_share() < 0.01 < 0.2 < noise.high_share()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 33])
def test_the_cosine_transform_is_its_definition(size: int) -> None:
    signal = torch.randn(4, size, generator=torch.Generator().manual_seed(size), dtype=torch.double)
    place, frequency = torch.arange(size).double(), torch.arange(size).double()[:, None]
    matrix = torch.cos(math.pi * (place + 0.5) * frequency / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    torch.testing.assert_close(health._dct(signal), signal @ matrix.T)


def test_equivariance_of_maps_that_have_it() -> None:
    coarse = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    video = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").transpose(0, 1)[None]

    def pool(clip: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(clip, (1, 4, 4))

    def pick(clip: Tensor) -> Tensor:
        return clip[..., ::4, ::4] + torch.sin(torch.arange(clip.shape[-1])[::4] * 1.0)

    assert metrics.scale_error(pool, video) < 0.2
    assert metrics.shift_error(pool, video, 4) < 0.1
    assert metrics.shift_error(pick, video, 4) > 0.3
    latents = pool(video)
    assert metrics.round_trip_gap(lambda z: z, lambda z: z, latents) == 0
    assert metrics.round_trip_gap(lambda z: z * 1.1, lambda z: z, latents) > 0.05
