"""Drift is measured where there is some, and nowhere else."""

import math

import pytest
import torch

from vidlatent.diffusion.worlds import Bounce, bootstrap, clip_measures, horizon
from vidlatent.diffusion.worlds.bounce import render

WORLD = Bounce(size=48)


def changing(**changes):
    """A clip whose attributes change by so much from its start to its end, while the disc moves as it should."""
    state = dict(WORLD.clip((0, 0, 7), 192).state)
    part = torch.linspace(0, 1, 192)
    for name, by in changes.items():
        held = state[name].expand(192, *state[name].shape)
        state[name] = held + by * part.view(-1, *[1] * (held.ndim - 1))
    return render(state, 48)


def at_end(video):
    return clip_measures(video, WORLD, lengths=(48, 192))[192]


def test_a_clip_of_the_world_does_not_drift_and_moves():
    found = clip_measures(changing(), WORLD, lengths=(48, 192))
    for length in (48, 192):
        assert found[length]["drift"] < 0.02
        assert found[length]["count"] == 0
        assert found[length]["inertia"] < 0.05
        assert 0.5 < found[length]["motion"] < 1.4
        assert math.isnan(found[length]["momentum"])  # one disc meets no other


@pytest.mark.parametrize(("name", "by"), [("hue", 1.0), ("radius", 2.0), ("brightness", 0.3), ("gradient", 0.3)])
def test_what_changes_is_what_drifts(name, by):
    found, still = at_end(changing(**{name: by})), at_end(changing())
    assert found[name] > 0.5
    others = {"hue", "radius", "saturation", "brightness", "gradient"} - {name}
    assert all(found[other] < still[other] + 0.1 for other in others)


def test_a_frozen_clip_shows_in_its_motion():
    video = changing()
    assert at_end(video[:, :1].expand(-1, 192, -1, -1))["motion"] < 1e-3


def test_the_horizon_is_where_two_futures_part():
    clip = WORLD.clip((0, 0, 8), 64)
    truth = clip.state["position"].clone()
    assert horizon(clip.video, truth, WORLD) == 64
    truth[40:] += 30
    assert horizon(clip.video, truth, WORLD) == 40


def test_intervals_cover_the_mean_and_widen_with_disagreeing_seeds():
    generator = torch.Generator().manual_seed(0)
    alike = [(1 + 0.1 * torch.randn(40, generator=generator)).tolist() for _ in range(3)]
    mean, low, high = bootstrap(alike)
    assert low < mean < high
    assert high - low < 0.1
    apart = [[value + shift for value in group] for group, shift in zip(alike, (-1, 0, 1), strict=True)]
    _, wide_low, wide_high = bootstrap(apart)
    assert wide_high - wide_low > 10 * (high - low)
    assert bootstrap([[math.nan, 2.0], [math.nan]]) == (2.0, 2.0, 2.0)
    assert all(math.isnan(value) for value in bootstrap([[math.nan]]))


def test_laws_say_nothing_of_frames_without_the_disc():
    video = changing()
    video[:, 40:100] = -0.3
    found = clip_measures(video, WORLD, lengths=(96, 192))
    assert found[96]["count"] == 1
    assert math.isnan(found[96]["inertia"])
    assert math.isnan(found[96]["motion"])
    assert found[192]["inertia"] < 0.05
