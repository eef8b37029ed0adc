"""The probe: smooth latents can be learned, noise cannot, scale does not matter, and it answers the same twice."""

import pytest
import torch
from torch import Tensor

from vidlatent.evaluate.diffusability import diffusability


def clips(smooth: bool, count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    if not smooth:
        return [torch.randn(1, 4, 2, 4, 4, generator=generator) for _ in range(count)]
    coarse = [torch.randn(1, 4, 2, 2, 2, generator=generator) for _ in range(count)]
    return [torch.nn.functional.interpolate(c, (2, 4, 4), mode="trilinear") * 2 for c in coarse]


def test_it_repeats_itself_whatever_the_scale() -> None:
    found = diffusability(clips(True), 32, lambda z: z[:, :3], steps=2)
    scaled = diffusability([clip * 50 + 7 for clip in clips(True)], 32, steps=2)
    assert scaled["probe_loss"] == pytest.approx(found["probe_loss"], rel=1e-3)
    assert torch.isfinite(torch.tensor(found["probe_sample_distance"]))
    assert set(scaled) == {"probe_loss"}
    assert diffusability(clips(True)[:1], 32) == {}


@pytest.mark.slow
def test_smooth_latents_are_learned_and_noise_is_not() -> None:
    smooth, noise = (diffusability(clips(kind, 90), 32, steps=200)["probe_loss"] for kind in (True, False))
    assert smooth < noise - 0.02
    assert noise > 0.99  # nothing is better than a Gaussian there
