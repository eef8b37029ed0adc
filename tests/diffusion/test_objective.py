"""The loss: what it measures, what it leaves out, how it weighs."""

import math

import pytest
import torch
from diffusion_helpers import latents, random_dit
from torch import Tensor

from vidlatent.diffusion import (
    Causal,
    Context,
    LearnedUncertainty,
    auto_shift,
    flow_loss,
    interpolate,
    logit_normal,
    min_snr,
    mixture,
    sample_times,
    shift,
    time_grid,
    uniform,
)
from vidlatent.errors import InputError

Z0, NOISE = latents(2, 3, 4, 4, 4), latents(2, 3, 4, 4, 4, seed=1)
T = torch.tensor([[0.1, 0.4, 0.7, 1.0], [0.2, 0.0, 0.5, 0.9]], dtype=torch.float64)


def off_by(error: float, frames: tuple[int, ...] = (0, 1, 2, 3)):
    """A model whose velocity is right but for `error` in some frames."""

    def model(z: Tensor, t: Tensor, context: Context | None = None, **options: object) -> Tensor:
        assert torch.equal(z, (1 - t[:, None, :, None, None]) * Z0 + t[:, None, :, None, None] * NOISE)
        wrong = torch.zeros(4, dtype=z.dtype)
        wrong[list(frames)] = error
        return NOISE - Z0 + wrong[:, None, None]

    return model


def test_the_velocity_is_noise_minus_data() -> None:
    assert flow_loss(off_by(0.0), Z0, T, noise=NOISE).item() == 0
    assert flow_loss(off_by(0.5), Z0, T, noise=NOISE).item() == pytest.approx(0.25)
    assert torch.equal(interpolate(Z0, NOISE, torch.ones(2)), NOISE)
    assert torch.equal(interpolate(Z0, NOISE, torch.zeros(2, 4)), Z0)


def test_what_is_shown_in_place_of_the_data_is_noised_and_does_not_count() -> None:
    counted = torch.tensor([True, False, True, True]).expand(2, 4)
    shown = torch.where(counted[:, None, :, None, None], Z0, -Z0)

    def model(z: Tensor, t: Tensor, context: Context | None = None, **options: object) -> Tensor:
        assert torch.equal(z, interpolate(shown, NOISE, t))
        wrong = torch.tensor([0.5, 100.0, 0.5, 0.5], dtype=z.dtype)
        return NOISE - Z0 + wrong[:, None, None]

    assert flow_loss(model, Z0, T, noise=NOISE, shown=shown, counted=counted).item() == pytest.approx(0.25)


def test_clean_frames_are_context_and_do_not_count() -> None:
    """One of eight frames is at t = 0; with an error in its column alone, the other clip's frame is one of seven."""
    assert flow_loss(off_by(1.0, (1,)), Z0, T, noise=NOISE).item() == pytest.approx(1 / 7)
    assert flow_loss(off_by(1.0), Z0, torch.zeros_like(T), noise=NOISE).item() == 0


def test_weights() -> None:
    t = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(min_snr(5.0)(t), t**2 * torch.minimum(((1 - t) / t) ** 2, torch.tensor(5.0)))
    weighed = flow_loss(off_by(1.0), Z0, T, noise=NOISE, weight=lambda t: t)
    assert weighed.item() == pytest.approx((T.sum() / 7).item())


def test_cosine_term_counts_direction() -> None:
    def backwards(z: Tensor, t: Tensor, context: Context | None = None, **options: object) -> Tensor:
        return Z0 - NOISE

    plain, both = (flow_loss(backwards, Z0, T, noise=NOISE, cosine=c).item() for c in (0.0, 0.5))
    assert both - plain == pytest.approx(0.5 * 2, abs=1e-6)


def test_learned_uncertainty_is_the_log_of_the_loss() -> None:
    """d/du (L / e^u + u) = 0 where u = log L; levels are told apart."""
    head = LearnedUncertainty(32)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    t = torch.tensor([[0.2, 0.8]])
    for _ in range(150):
        loss = (torch.tensor([0.1, 2.0]) / head(t).exp() + head(t)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(head(t)[0].exp(), torch.tensor([0.1, 2.0]), rtol=0.1, atol=0)
    scaled = flow_loss(off_by(1.0), Z0, T, noise=NOISE, uncertainty=LearnedUncertainty(32).double())
    assert scaled.item() == pytest.approx(1.0)


@torch.no_grad()
def test_teacher_forcing_shows_clean_past_and_own_block() -> None:
    """Frame 2's answer depends on clean frames 0 and 1, not on its own clean copy or on noisy ones."""
    dit, seen = random_dit(causal=True), []
    t = torch.full((1, 3), 0.5, dtype=torch.float64)
    z0, noise = latents(1, 3, 3, 4, 4), latents(1, 3, 3, 4, 4, seed=1)

    def recorded(z: Tensor, *rest: object, **options: object) -> Tensor:
        seen.append(dit(z, *rest, **options))
        return seen[-1]

    for changed in (None, 0, 1, 2):
        other = z0.clone()
        if changed is not None:
            other[:, :, changed] += 1
        fixed = noise + (z0 - other)  # z_t at t = 1/2 stays what it was
        flow_loss(recorded, other, t, noise=fixed, teacher=Causal())
    moved = [(answer - seen[0])[:, :, 5].abs().max().item() > 1e-6 for answer in seen[1:]]
    assert moved == [True, True, False]


@torch.no_grad()
def test_context_noise_is_told_to_the_model() -> None:
    levels: list[Tensor] = []

    def model(z: Tensor, t: Tensor, context: Context | None, **options: object) -> Tensor:
        levels.append(t)
        assert not torch.equal(z[:, :, 0], Z0[:, :, 0])
        return torch.zeros_like(z)

    context_t = torch.full_like(T, 0.1)
    flow_loss(model, Z0, T, teacher=Causal(), context_t=context_t, generator=torch.Generator().manual_seed(0))
    assert torch.equal(levels[0], torch.cat([context_t, T], 1))


def test_times_are_per_clip_or_per_block() -> None:
    generator = torch.Generator().manual_seed(0)
    assert sample_times(3, 5, generator=generator).diff(dim=1).abs().max() == 0
    blocks = sample_times(3, 5, block=2, generator=generator)
    assert (blocks[:, 0] == blocks[:, 1]).all()
    assert (blocks[:, 1] != blocks[:, 2]).all()
    assert blocks.shape == (3, 5)


def test_densities() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = logit_normal(0.5, 2.0)((20000,), generator).logit()
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.05)
    assert drawn.std().item() == pytest.approx(2.0, abs=0.05)
    mixed = mixture(0.25, lambda shape, g: torch.zeros(shape), uniform)((20000,), generator)
    assert (mixed == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)


def test_shift_as_published() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(shift(t, 3.0), torch.tensor([0.0, 0.75, 1.0]))
    assert auto_shift(1024) == pytest.approx(math.exp(0.95))
    assert auto_shift(4096) == pytest.approx(math.exp(2.05))
    assert time_grid(2, shift_by=3.0).tolist() == [0, 0.75, 1]
    with pytest.raises(InputError, match="shift 0: allowed are positive"):
        shift(t, 0)
