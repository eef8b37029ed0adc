"""Other processes and predictions against closed forms: what each would ideally answer for a Gaussian target."""

import math

import pytest
import torch
from diffusion_helpers import latents
from test_samplers import MEAN, STD, error, velocity
from torch import Tensor, nn

from vidlatent.diffusion import (
    EDM,
    AsFlow,
    Context,
    Cosine,
    Discrete,
    Path,
    RectifiedFlow,
    VarianceExploding,
    VariancePreserving,
    error_weight,
    euler,
    full_sequence,
    logit_normal,
    path_density,
    per_frame,
    rollout,
    velocity_of,
)
from vidlatent.errors import InputError

PATHS: dict[str, Path] = {
    "cosine": Cosine(),
    "linear": Discrete.linear(),
    "scaled linear": Discrete.linear(0.00085, 0.012, scaled=True),
    "vp": VariancePreserving(),
    "ve": VarianceExploding(),
    "edm": EDM(),
    "flow": RectifiedFlow(last=1000.0),
}
LEVELS = torch.tensor([[0.04, 0.1, 0.5, 0.8, 0.92]], dtype=torch.float64)


class Ideal(nn.Module):
    """The best answer at `x = alpha z_0 + sigma eps` for z_0 ~ N(MEAN, STD^2), derived from E[z_0 | x] alone."""

    def __init__(self, path: Path, prediction: str, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.path, self.prediction, self.sigma_data = path, prediction, sigma_data

    def forward(self, x: Tensor, s: Tensor, context: Context | None = None) -> Tensor:
        d = self.sigma_data
        if self.prediction == "edm":
            s = (4 * s).exp()
        a, b = (per_frame(part, x) for part in self.path.coefficients(s))
        if self.prediction == "edm":
            x = x * (b**2 + d**2).sqrt()
        clean = MEAN + a * STD**2 / (a**2 * STD**2 + b**2) * (x - a * MEAN)
        eps = (x - a * clean) / b
        return {
            "x0": clean,
            "eps": eps,
            "v": a * eps - b * clean,
            "score": -(x - a * MEAN) / (a**2 * STD**2 + b**2),
            "edm": (clean - d**2 / (b**2 + d**2) * x) * (b**2 + d**2).sqrt() / (b * d),
            "velocity": eps - clean,
        }[self.prediction]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "score", "velocity"])
def test_every_path_and_prediction_is_the_flow(path: Path, prediction: str) -> None:
    z = latents(2, 3, 5, 2, 2)
    flow = AsFlow(Ideal(path, prediction), path, prediction, channels=3)
    torch.testing.assert_close(flow(z, LEVELS.expand(2, -1)), velocity(z, LEVELS), rtol=0, atol=1e-8)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_preconditioning_is_the_flow(sigma_data: float) -> None:
    z = latents(2, 3, 5, 2, 2)
    flow = AsFlow(Ideal(EDM(), "edm", sigma_data), EDM(), "edm", channels=3, sigma_data=sigma_data)
    torch.testing.assert_close(flow(z, LEVELS.expand(2, -1)), velocity(z, LEVELS), rtol=0, atol=1e-8)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_times_and_levels_are_inverse(path: Path) -> None:
    levels = torch.linspace(0.03, 0.93, 40, dtype=torch.float64)
    alpha, sigma = path.coefficients(path.time(levels))
    torch.testing.assert_close(sigma / (alpha + sigma), levels, rtol=0, atol=1e-9)


def test_coefficients_as_published() -> None:
    """Hand-made from the papers' own formulas."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha, sigma = Discrete.linear().coefficients(torch.tensor([0.0, 500.0, 999.0], dtype=torch.float64))
    signal = (1 - betas).cumprod(0)[[0, 500, 999]]
    torch.testing.assert_close(alpha, signal.sqrt(), rtol=0, atol=1e-12)
    torch.testing.assert_close(sigma, (1 - signal).sqrt(), rtol=0, atol=1e-12)
    half = torch.tensor([0.5], dtype=torch.float64)
    cosine = math.cos(0.508 / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)
    assert Cosine().coefficients(half)[0].item() == pytest.approx(cosine)
    assert VariancePreserving().coefficients(half)[0].item() == pytest.approx(
        math.exp(-0.25 * 0.5**2 * (20 - 0.1) - 0.5 * 0.5 * 0.1)
    )
    assert VarianceExploding().coefficients(half)[1].item() == pytest.approx(math.sqrt(0.01 * 50))


def test_ends_of_a_path_hold_beyond_them() -> None:
    flow = AsFlow(Ideal(EDM(), "x0"), EDM(), "x0", channels=1)
    ends = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert flow(latents(1, 1, 2, 2, 2), ends).isfinite().all()


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "edm"])
def test_weights_turn_a_velocity_error_into_the_predictions(prediction: str) -> None:
    """Two answers that differ by d have velocities that differ by e, where e^2 weight = d^2."""
    t = LEVELS
    path: Path = EDM() if prediction == "edm" else VariancePreserving()
    alpha, sigma = path.coefficients(path.time(t))
    x, answer = latents(1, 5, seed=1), latents(1, 5, seed=2)
    first, second = (velocity_of(prediction, answer + d, x, alpha, sigma) for d in (0.0, 0.1))
    torch.testing.assert_close(
        (first - second).square() * error_weight(prediction)(t), torch.full_like(t, 0.01), rtol=1e-9, atol=0
    )


def test_densities_as_their_papers_draw_them() -> None:
    generator = torch.Generator().manual_seed(0)
    sigma = EDM().time(logit_normal(-1.2, 1.2)((20000,), generator)).log()
    assert sigma.mean().item() == pytest.approx(-1.2, abs=0.05)
    assert sigma.std().item() == pytest.approx(1.2, abs=0.05)
    drawn = Cosine().time(path_density(Cosine())((20000,), generator))
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_foreign_model_is_sampled_like_a_native_one() -> None:
    flow = AsFlow(Ideal(Cosine(), "v"), Cosine(), "v", channels=1)
    flow.register_parameter("weight", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    clip = torch.cat(list(rollout(flow, schedule=full_sequence(50), num_frames=4, size=(50, 50))), 2)
    assert clip.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert clip.std().item() == pytest.approx(STD, rel=0.05)
    assert error(lambda p, *rest, **k: euler(flow, *rest, **k), [0.9], [0.1], 100) < 1e-2


def test_unknown_predictions_are_refused() -> None:
    x = torch.ones(1)
    with pytest.raises(InputError, match="allowed are velocity, eps"):
        velocity_of("noise", x, x, x, x)
