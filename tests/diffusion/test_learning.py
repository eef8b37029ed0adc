"""End to end on data with an exact answer: a small model learns a rule, and rollouts far beyond its clips keep it."""

import pytest
import torch
from torch import Tensor

from vidlatent.diffusion import (
    Sampler,
    Schedule,
    VideoDiT,
    VideoDiTConfig,
    autoregressive,
    dpmpp_2m,
    euler,
    flow_loss,
    pyramid,
    rollout,
    sample_times,
    unipc,
)


def alternating(batch: int, frames: int, generator: torch.Generator | None = None) -> Tensor:
    """Clips whose every frame is the negative of the one before, of random size in [0.5, 1.5]."""
    size = torch.rand(batch, 1, 1, 1, 1, generator=generator) + 0.5
    signs = torch.tensor([(-1.0) ** i for i in range(frames)])
    start = torch.randint(0, 2, (batch, 1, 1, 1, 1), generator=generator) * 2 - 1
    return (size * start * signs[None, None, :, None, None]).expand(batch, 1, frames, 2, 2)


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    torch.manual_seed(0)
    dit = VideoDiT(VideoDiTConfig(channels=1, dim=32, depth=2, heads=2, patch=2, causal=True, window=4))
    steps = 800
    optimizer = torch.optim.AdamW(dit.parameters(), 4e-3, weight_decay=0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for _ in range(steps):
        loss = flow_loss(dit, alternating(64, 6), sample_times(64, 6, block=1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return dit.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "sampler"),
    [(autoregressive(8), euler), (autoregressive(6), dpmpp_2m), (autoregressive(6), unipc), (pyramid(8, lag=4), euler)],
    ids=["Euler", "DPM++", "UniPC", "pyramid"],
)
def test_the_rule_is_kept_at_five_times_the_trained_length(dit: VideoDiT, schedule: Schedule, sampler: Sampler) -> None:
    truth = alternating(16, 34, torch.Generator().manual_seed(1))
    made = torch.cat(list(rollout(dit, schedule=schedule, sampler=sampler, prompt=truth[:, :, :4], num_frames=30)), 2)
    assert (made.sign() == truth[:, :, 4:].sign()).float().mean() > 0.95
    first = (made - truth[:, :, 4:])[:, :, :4].abs().mean().item()
    assert first < 0.2
