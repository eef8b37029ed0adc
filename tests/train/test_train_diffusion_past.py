"""Samples whose past is that of a long rollout: sinks far away, frames that have faded."""

import pytest
import torch
from ring_world import RingLatents, ring_config

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT, VideoDiTConfig
from vidlatent.train.diffusion_past import fade, set_apart
from vidlatent.train.flow import FlowTask

FRAMES, SINKS, ROOM = 5, 2, 4


def numbered(count: int = 64) -> torch.Tensor:
    """Clips whose every frame holds its own number."""
    return torch.arange(FRAMES + ROOM).float().view(1, 1, -1, 1, 1).expand(count, 1, -1, 1, 1)


def test_sinks_are_the_first_frames_and_the_rest_is_one_run_from_behind_them() -> None:
    z, _, given = set_apart(numbered(), None, frames=FRAMES, sinks=SINKS, generator=torch.Generator().manual_seed(0))
    numbers = z[:, 0, :, 0, 0].int()
    gaps = numbers[:, SINKS] - SINKS
    assert (numbers[:, :SINKS] == torch.arange(SINKS)).all()
    assert (numbers[:, SINKS:].diff(dim=1) == 1).all()
    assert set(gaps.tolist()) == set(range(ROOM + 1))
    assert 0.3 < (gaps == 0).float().mean() < 0.7
    assert torch.equal(given, (gaps > 0)[:, None] & (torch.arange(FRAMES) <= SINKS))


def test_actions_stay_with_their_frames() -> None:
    z, context, _ = set_apart(
        numbered(), Context(actions=numbered()[:, 0, :, :, 0]), frames=FRAMES, sinks=SINKS, generator=None
    )
    assert torch.equal(context.actions[..., 0], z[:, 0, :, 0, 0])


def test_without_room_samples_are_the_clips() -> None:
    z, _, given = set_apart(numbered()[:, :, :FRAMES], None, frames=FRAMES, sinks=0)
    assert torch.equal(z, numbered()[:, :, :FRAMES])
    assert not given.any()


def test_a_part_of_the_past_fades_towards_the_mean_and_neither_sinks_nor_the_last_frame_do() -> None:
    z, mean = torch.randn(256, 2, FRAMES, 3, 3), torch.randn(256, 2, 1, 3, 3)
    shown, past = fade(z, mean, share=0.5, sinks=SINKS, generator=torch.Generator().manual_seed(0))
    assert not past[:, :SINKS].any()
    assert not past[:, -1].any()
    assert (past[:, SINKS:-1].int().diff(dim=1) <= 0).all()  # one run, from the sinks on
    assert 0.4 < past.any(1).float().mean() < 0.6
    kept = ~past[:, None, :, None, None].expand_as(z)
    assert torch.equal(shown[kept], z[kept])
    share = ((shown - z) * (mean - z)).sum((1, 3, 4)) / (mean - z).square().sum((1, 3, 4))
    torch.testing.assert_close(shown, z + share[:, None, :, None, None] * (mean - z))
    assert 0 <= share.min() <= share.max() <= 1
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    shown, past = fade(z, mean, share=0.0, sinks=SINKS, generator=generator)
    assert torch.equal(shown, z)
    assert past.shape == (256, FRAMES)
    assert not past.any()
    assert torch.equal(generator.get_state(), before)  # what is not asked for draws nothing


class Asked(VideoDiT):
    """Writes down the levels it is asked at."""

    def forward(self, z, t, *args, **options):  # type: ignore[no-untyped-def]
        self.levels = t
        return super().forward(z, t, *args, **options)


@pytest.mark.parametrize("mode", ["forcing", "teacher"])
def test_a_frame_behind_a_gap_is_given_and_context_is_as_noisy_as_asked(mode, tmp_path) -> None:
    method = {"name": "flow", "modes": {mode: 1}, "clean": 0.9, "context_noise": 0.1}
    config = ring_config(method, learning_rate=1e-3, out=tmp_path)
    model = VideoDiTConfig(channels=1, dim=12, depth=1, heads=1, patch=1, causal=True, window=1, sinks=SINKS)
    config = config.model_copy(update={"frames": FRAMES, "apart": ROOM})
    task = FlowTask.__new__(FlowTask)
    task.config, task.latents, task.method, task.dit = config, RingLatents(config), config.method, Asked(model)
    torch.manual_seed(0)
    task.loss(task.dit, numbered(256), mode, None)
    levels = task.dit.levels
    noisy = levels[:, -FRAMES:]
    behind = noisy[:, SINKS] == 0
    assert 0.3 < behind.float().mean() < 0.7
    assert ((noisy[:, :SINKS] == 0) == behind[:, None]).all()
    assert (noisy[:, SINKS + 1 :] > 0).all()
    context = noisy if mode == "forcing" else levels[:, :FRAMES]
    assert (context <= 0.1).float().mean() > 0.85
    assert (context > 0.05).float().mean() > 0.2
