"""Losses against closed forms: values that can be computed by hand, gradients, bounds."""

import math

import pytest
import torch

from vidlatent.train.losses import adversarial, discriminators, reconstruction, regularisers


def test_pixel_terms_of_a_constant_error() -> None:
    want = torch.rand(2, 3, 4, 6, 6) - 0.5
    got = want + 0.25
    assert reconstruction.l1(got, want).item() == pytest.approx(0.25, rel=1e-5)
    assert reconstruction.mse(got, want).item() == pytest.approx(0.0625, rel=1e-5)
    assert reconstruction.charbonnier(got, want).item() == pytest.approx(math.hypot(0.25, 1e-3), rel=1e-5)
    assert reconstruction.temporal(got, want).item() == pytest.approx(0, abs=1e-6)
    # all of a constant lies in the lowest of 8 bands, sqrt(8) times as large
    assert reconstruction.wavelet(got, want).item() == pytest.approx(0.25 * 8**0.5 / 8, rel=1e-5)
    assert reconstruction.psnr(got, want).item() == pytest.approx(10 * math.log10(4 / 0.0625), rel=1e-4)


def test_single_frames_have_no_change_and_four_sub_bands() -> None:
    want = torch.zeros(1, 3, 1, 4, 4)
    assert reconstruction.temporal(want + 1, want) == 0
    assert reconstruction.wavelet(want + 1, want).item() == pytest.approx(2 / 4)


def test_the_temporal_term_sees_flicker_that_l1_does_not_tell_from_a_shift() -> None:
    want = torch.zeros(1, 1, 4, 2, 2)
    flickering = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 1, 4, 1, 1).expand_as(want)
    assert reconstruction.l1(flickering, want) == reconstruction.l1(want + 1, want)
    assert reconstruction.temporal(flickering, want) == 2


@pytest.mark.parametrize("kind", ["hinge", "non-saturating"])
def test_an_undecided_discriminator_and_a_perfect_one(kind: adversarial.Kind) -> None:
    none, sure = torch.zeros(5), torch.full((5,), 50.0)
    undecided = 1.0 if kind == "hinge" else math.log(2)
    assert adversarial.discriminator_loss(kind, none, none).item() == pytest.approx(undecided)
    assert adversarial.discriminator_loss(kind, sure, -sure).item() == pytest.approx(0, abs=1e-6)
    fooled, caught = adversarial.generator_loss(kind, sure), adversarial.generator_loss(kind, -sure)
    assert fooled < caught


def test_lecam_holds_logits_to_the_other_sides_mean() -> None:
    lecam = adversarial.LeCam(decay=0.0)
    real, fake = torch.tensor([2.0]), torch.tensor([-1.0])
    assert lecam(real, fake).item() == pytest.approx((2 + 1) ** 2 + (2 + 1) ** 2)
    assert lecam(torch.tensor([1.0]), torch.tensor([1.0])) == 0
    assert "means" in lecam.state_dict()


def test_r1_is_half_the_squared_gradient() -> None:
    real = torch.randn(3, 2, 2).requires_grad_()
    logits = (real * 3.0).sum((1, 2))
    assert adversarial.r1_penalty(logits, real).item() == pytest.approx(0.5 * 4 * 9)


def test_the_adaptive_weight_balances_gradients_at_the_last_layer() -> None:
    layer = torch.randn(4, 4, requires_grad=True)
    reconstruction_loss, generator_loss = 6 * layer.sum(), 2 * layer.sum()
    weight = adversarial.adaptive_weight(reconstruction_loss, generator_loss, layer)
    assert weight.item() == pytest.approx(3, rel=1e-3)
    assert not weight.requires_grad


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_discriminators_answer_for_patches(dims: str) -> None:
    network = discriminators.PatchDiscriminator(dims, width=8, depth=2)
    video = torch.randn(2, 3, 5, 32, 32, requires_grad=True)
    logits = network(video)
    assert logits.shape[0] == (10 if dims == "2d" else 2)
    discriminators.frozen(network, video).sum().backward()
    assert video.grad is not None
    assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())


def test_a_two_dimensional_discriminator_does_not_see_time() -> None:
    network, video = discriminators.PatchDiscriminator("2d", width=8, depth=1), torch.randn(1, 3, 4, 16, 16)
    assert torch.allclose(network(video), network(video.flip(2)).flip(0), atol=1e-6)


def test_scaling_and_turning() -> None:
    video = torch.randn(1, 2, 3, 8, 8)
    assert regularisers.scaled(video, (4, 4)).shape == (1, 2, 3, 4, 4)
    constant = torch.ones(1, 2, 3, 8, 8)
    assert torch.allclose(regularisers.scaled(constant, (3, 5)), torch.ones(1, 2, 3, 3, 5))
    back = regularisers.turned(regularisers.turned(video, 1, False), 3, False)
    assert torch.equal(back, video)
    assert torch.equal(regularisers.turned(video, 0, True), video.flip(4))


def test_local_correlation_wants_neighbours_alike() -> None:
    smooth = torch.linspace(-1, 1, 8).view(1, 1, 1, 1, 8).expand(1, 4, 2, 2, 8) * torch.tensor([1.0, -1, 2, -2]).view(
        1, 4, 1, 1, 1
    )
    noise = torch.randn(1, 4, 2, 2, 8, generator=torch.Generator().manual_seed(0))
    assert regularisers.local_correlation(smooth) < 0.4 * regularisers.local_correlation(noise)


def test_masks_hide_whole_positions_and_keep_most_clips() -> None:
    torch.manual_seed(0)
    mask = regularisers.LatentMask(3, shares=(0.5,), keep=0.0)
    latents = torch.randn(2, 3, 4, 8, 8) + 5
    hidden = mask(latents) == 0
    assert torch.equal(hidden.any(1), hidden.all(1))
    assert 0.4 < hidden.float().mean() < 0.6
    assert torch.equal(regularisers.LatentMask(3, keep=1.0)(latents), latents)


def test_alignment_is_zero_within_its_margins_and_learns_a_map() -> None:
    torch.manual_seed(0)
    latents = torch.randn(1, 4, 2, 4, 4)
    features = torch.einsum("fc,bcthw->bfthw", torch.randn(6, 4), latents)
    align = regularisers.Alignment(4, 6)
    before = align(latents, features).item()
    optimizer = torch.optim.Adam(align.parameters(), 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = align(latents, features)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * before


def test_single_frames_in_bfloat16_have_logits_whatever_was_in_memory() -> None:
    network, frame = discriminators.PatchDiscriminator("3d", width=8, depth=1), torch.rand(1, 3, 1, 32, 32)
    for size in (2**power for power in range(6, 19, 2)):
        for dtype in (torch.float32, torch.bfloat16):  # what is freed here is what the network is given
            spent = [torch.full((size,), math.nan, dtype=dtype) for _ in range(30)]
            del spent
    with torch.autocast("cpu", torch.bfloat16):
        assert network(frame).isfinite().all()
