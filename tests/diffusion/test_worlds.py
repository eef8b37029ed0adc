"""Worlds obey their laws, come back by their seed, and are read back from their frames."""

import math

import numpy as np
import pytest
import torch

from vidlatent.diffusion.worlds import (
    WORLDS,
    Bounce,
    Maze,
    Planes,
    WorldStream,
    angular_velocity,
    build_world,
    law_residuals,
    memory,
    parse,
    revisits,
)
from vidlatent.errors import InputError


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_clip_is_its_seed_and_longer_ones_begin_alike(name):
    world = build_world(name, size=32)
    short, long, other = world.clip((1, 0, 5), 9), world.clip((1, 0, 5), 17), world.clip((1, 0, 6), 9)
    assert short.video.shape == (3, 9, 32, 32)
    assert short.video.abs().max() <= 1
    torch.testing.assert_close(short.video, long.video[:, :9])
    assert (short.video - other.video).abs().max() > 0.1
    assert (short.actions is not None) == (world.num_actions > 0)


def test_an_unknown_world_or_option_is_named():
    with pytest.raises(InputError, match="allowed are bounce, planes, maze"):
        build_world("pong")
    with pytest.raises(InputError, match="gravity"):
        build_world("bounce", gravity=1)


def test_energy_is_kept_and_momentum_changes_at_walls_alone():
    state = Bounce(num_discs=3, radius=(5.0, 7.0)).clip((0, 0, 3), 300).state
    mass, velocity = state["mass"][None], state["velocity"]
    energy = (mass * velocity.square().sum(-1)).sum(1)
    torch.testing.assert_close(energy, energy[:1].expand_as(energy), rtol=1e-4, atol=0)
    momentum = (mass[..., None] * velocity).sum(1)
    # the places after each frame: near no wall, a change of momentum has no cause
    reach = state["radius"][None, :, None] + 2 * velocity.abs().amax()
    free = ((state["position"] > reach) & (state["position"] < 64 - reach)).all((1, 2))[:-1]
    steps = (momentum[1:] - momentum[:-1]).norm(dim=-1)
    assert free.sum() > 20
    assert steps[free].max() < 1e-2
    assert steps.max() > 1  # walls do push
    turns = (velocity[1:] - velocity[:-1]).norm(dim=-1)[free].amax(1)
    assert turns.max() > 0.1  # and discs met


@pytest.mark.parametrize("discs", [1, 2])
def test_a_state_is_read_back_from_frames(discs):
    world = Bounce(num_discs=discs)
    clip = world.clip((0, 0, 1), 24)
    seen, state = parse(clip.video, discs), clip.state
    order = ((seen["hue"][0][:, None] - state["hue"] + torch.pi) % (2 * torch.pi) - torch.pi).abs().argmin(1)
    assert sorted(order.tolist()) == list(range(discs))
    assert (seen["position"] - state["position"][:, order]).abs().max() < 0.15
    assert (seen["radius"] - state["radius"][order]).abs().max() < 0.2
    assert (seen["brightness"] - state["brightness"]).abs().max() < 1e-3
    assert (seen["gradient"] - state["gradient"]).abs().max() < 1e-3
    assert (seen["count"] == discs).all()
    assert seen["residual"].max() < 1e-3


def test_a_missing_disc_and_a_broken_picture_are_noticed():
    clip = Bounce().clip((0, 0, 2), 4)
    empty = parse(torch.full_like(clip.video, -0.3))
    assert (empty["count"] == 0).all()
    noisy = parse(clip.video + 0.3 * torch.randn(clip.video.shape, generator=torch.Generator().manual_seed(0)))
    assert noisy["residual"].min() > 10 * parse(clip.video)["residual"].max()


def test_laws_hold_in_the_world_and_are_seen_broken():
    world = Bounce(num_discs=2, radius=(5.0, 7.0))
    state = parse(world.clip((0, 0, 3), 400).video, 2)
    true = law_residuals(state, world.size)
    for law, most in (("inertia", 0.05), ("bounce", 0.05), ("energy", 0.1), ("momentum", 0.1)):
        assert true[law].isfinite().any(), law
        assert true[law].nanmean() < most, law
    jitter = state | {
        "position": state["position"] + torch.from_numpy(np.random.default_rng(0).normal(0, 1, (400, 2, 2)))
    }
    assert law_residuals(jitter, world.size)["inertia"].nanmean() > 5 * true["inertia"].nanmean()
    heavier = state | {"radius": state["radius"] * torch.tensor([1.5, 1.0])}
    assert law_residuals(heavier, world.size)["momentum"].nanmean() > 3 * true["momentum"].nanmean()
    slower = state | {"position": 32 + (state["position"] - 32) * torch.linspace(1, 0.3, 400)[:, None, None]}
    assert law_residuals(slower, world.size)["energy"].nanmean() > 3 * true["energy"].nanmean()


def test_turning_is_read_back():
    for seed in range(3):
        clip = Planes().clip((0, 0, seed), 12)
        assert (angular_velocity(clip.video) - clip.state["omega"]).abs().max() < 2e-3
    assert Planes(tilt=0.5).clip((0, 0, 0), 3).video.isfinite().all()


def test_a_maze_walk_stays_between_walls_and_places_come_back_the_same():
    world = Maze()
    clip = world.clip((0, 0, 3), 300)
    y, x = (clip.state["pose"][:, :2] + 0.5).floor().long().unbind(1)
    assert not clip.state["walls"].bool()[y, x].any()
    pairs = revisits(clip.state["pose"], apart=40)
    assert len(pairs) > 10
    assert (pairs[:, 1] - pairs[:, 0]).min() >= 40
    first, second = clip.video[:, pairs[:, 0]], clip.video[:, pairs[:, 1]]
    assert (first - second).abs().max() < 1e-5
    assert set(clip.actions.tolist()) <= {1, 2, 3}
    turned = clip.state["pose"][:, 2].diff().abs() > 1e-6
    assert turned.any()
    assert not turned.all()


def test_memory_is_what_places_have_in_common_when_seen_again():
    clip = Maze(size=32).clip((0, 0, 3), 300)
    noise = 0.2 * torch.randn(clip.video.shape, generator=torch.Generator().manual_seed(0))
    again, elsewhere = memory(clip.video + noise, clip.state["pose"], apart=40)
    assert abs(again - -10 * math.log10(2 * 0.1**2)) < 0.1  # twice the noise, at half the range
    assert elsewhere < again - 2
    assert memory(clip.video, clip.state["pose"], apart=40)[0] > 60
    assert math.isnan(memory(clip.video[:, :8], clip.state["pose"][:8], apart=7)[0])


def test_a_stream_is_shared_between_ranks_and_goes_on_where_it_was():
    def make(rank=0, world_size=1):
        return WorldStream(Bounce(size=16), num_frames=2, rank=rank, world_size=world_size)

    whole = [clip.video for clip, _ in zip(make(), range(4), strict=False)]
    halves = [iter(make(rank, 2)) for rank in (0, 1)]
    for index in range(4):
        torch.testing.assert_close(next(halves[index % 2]).video, whole[index])
    stream = make()
    items = iter(stream)
    next(items)
    saved = stream.state_dict()
    resumed = make()
    resumed.load_state_dict(saved)
    torch.testing.assert_close(next(iter(resumed)).video, whole[saved["taken"]])
    other = WorldStream(Bounce(size=16), num_frames=2, split=1)
    assert (next(iter(other)).video - whole[0]).abs().max() > 0.1
    with pytest.raises(InputError, match="rank=2 of 2"):
        make(2, 2)
