"""Rollouts against the whole matrix walked over the whole clip, and everything that may be asked of them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion_helpers import latents, random_dit
from torch import Tensor, nn

import vidlatent as vl
from vidlatent.diffusion import (
    Context,
    FreeNoise,
    Guidance,
    Partitioned,
    Past,
    Sampler,
    Schedule,
    VideoDiT,
    ancestral,
    autoguidance,
    autoregressive,
    classifier_free,
    dpmpp_2m,
    euler,
    fifo,
    full_sequence,
    heun,
    history,
    pyramid,
    rolling,
    rollout,
    unipc,
)
from vidlatent.errors import InputError

FRAMES, SIZE = 7, (4, 4)
SCHEDULES = {
    "full sequence": full_sequence(4),
    "autoregressive": autoregressive(3),
    "blocks": autoregressive(3, block=2),
    "pyramid": pyramid(4, lag=1.5),
    "FIFO": fifo(4),
    "rolling": rolling(3, block=2),
}


class TableNoise:
    """Noise of frame i is row i of a table, however it is asked for."""

    def __init__(self) -> None:
        self.next = 0

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        start, self.next = self.next, self.next + like.shape[2]
        return table()[:, :, start : self.next].clone()

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


def table() -> Tensor:
    return latents(1, 3, 40, *SIZE, seed=7)


def clip(dit: nn.Module, **options: Any) -> Tensor:
    values = {"size": SIZE, "num_frames": FRAMES, "noise": TableNoise()} | options
    return torch.cat(list(rollout(dit, **values)), 2)


@torch.no_grad()
def walked(dit: VideoDiT, schedule: Schedule, sampler: Sampler, frames: int = FRAMES) -> Tensor:
    """The matrix row by row on all frames at once, those not yet begun as noise behind the rest."""
    z, past, matrix = table()[:, :, :frames], Past(), schedule.matrix(frames)
    for row, after in pairwise(matrix):
        t, t_next = (schedule.grid[levels][None] for levels in (row, after))
        z, past = sampler(lambda z, t: dit(z, t), z, t, t_next, past)
    return z


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m, unipc], ids=lambda s: s.__name__)
def test_a_causal_rollout_is_the_matrix_walked_over_the_clip(schedule: Schedule, sampler: Sampler) -> None:
    """Through the cache, frame by frame, equals masked passes over all frames: for every schedule and sampler."""
    dit = random_dit(causal=True, block=2 if schedule.block == 2 else 1)
    torch.testing.assert_close(
        clip(dit, schedule=schedule, sampler=sampler), walked(dit, schedule, sampler), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("window", [1, 3])
def test_a_rolling_window_is_a_banded_mask(window: int) -> None:
    dit = random_dit(causal=True, window=window)
    for schedule in (autoregressive(3), fifo(3)):
        rolled, whole = clip(dit, schedule=schedule), walked(dit, schedule, euler)
        torch.testing.assert_close(rolled, whole, rtol=0, atol=1e-10)


def test_a_model_that_sees_all_frames_is_shown_the_last_ones() -> None:
    """Two blocks of two behind a window of two: written out by hand."""
    dit, schedule = random_dit(), autoregressive(2, block=2)
    z, shown = table()[:, :, :4], torch.zeros(1, 3, 0, *SIZE, dtype=torch.float64)
    parts = []
    with torch.no_grad():
        for block in z.split(2, 2):
            for t, t_next in ((1.0, 0.5), (0.5, 0.0)):
                levels = torch.tensor([[0.0] * shown.shape[2] + [t] * 2], dtype=torch.float64)
                block = block + (t_next - t) * dit(torch.cat([shown, block], 2), levels)[:, :, -2:]
            parts.append(block)
            shown = block
    rolled = clip(dit, schedule=schedule, num_frames=4, window=2)
    torch.testing.assert_close(rolled, torch.cat(parts, 2), rtol=0, atol=1e-12)


def test_fifo_is_a_pyramid_of_one_step_behind_another() -> None:
    for dit in (random_dit(causal=True, window=2), random_dit()):
        assert torch.equal(clip(dit, schedule=fifo(4), window=2), clip(dit, schedule=pyramid(4, lag=1), window=2))


def test_partitions_are_windows_of_the_models_length() -> None:
    dit = random_dit()
    z, t = latents(1, 3, 10, *SIZE), torch.rand(1, 10, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(Partitioned(dit, frames=10)(z, t), dit(z, t))
        plain = torch.cat([dit(z[:, :, i : i + 5], t[:, i : i + 5]) for i in (0, 5)], 2)
        assert torch.equal(Partitioned(dit, frames=5)(z, t), plain)
        windows = [dit(z[:, :, i : i + 4], t[:, i : i + 4]) for i in (0, 2, 4, 6)]
        ahead = torch.cat([windows[0], *(window[:, :, 2:] for window in windows[1:])], 2)
        assert torch.equal(Partitioned(dit, frames=4, lookahead=2)(z, t), ahead)
        assert Partitioned(dit, frames=4)(z, t).shape == z.shape  # 10 = 4 + 4 + 2, the last window moved back


def test_fifo_from_a_clip_as_published() -> None:
    """The base clip at levels 1/K .. 1, its first frame standing in front; one step for all, then the head leaves."""
    dit, base, steps = random_dit(), latents(1, 3, 2, *SIZE, seed=9), 4
    grid = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    noise = table()
    levels = grid[1:]
    queue = torch.lerp(base[:, :, [0, 0, 0, 1]], noise[:, :, :4], levels[None, None, :, None, None])
    emitted = []
    with torch.no_grad():
        for i in range(6):
            model = Partitioned(dit, frames=2)
            step = (grid[:-1] - grid[1:])[None, None, :, None, None]
            queue = queue + step * model(queue, levels[None])
            emitted.append(queue[:, :, :1])
            queue = torch.cat([queue[:, :, 1:], noise[:, :, 4 + i : 5 + i]], 2)
    rolled = clip(Partitioned(dit, frames=2), schedule=fifo(2, partitions=2), base=base, size=None, num_frames=4)
    torch.testing.assert_close(rolled, torch.cat(emitted[2:], 2), rtol=0, atol=1e-12)


GUIDED = {
    "plain": Guidance(),
    "classifier-free": classifier_free(2.0),
    "history": history(1.5, noise=0.4) + history(1.2),
    "weaker": autoguidance(random_dit(seed=1, causal=True, window=2, num_classes=3), 1.5),
}


@pytest.mark.parametrize("guidance", GUIDED.values(), ids=GUIDED)
@pytest.mark.parametrize("schedule", [autoregressive(2), fifo(3)], ids=["autoregressive", "FIFO"])
def test_saved_and_restored_bit_for_bit(guidance: Guidance, schedule: Schedule, tmp_path: Path) -> None:
    def begin(noise: Any) -> Any:
        return rollout(
            random_dit(causal=True, window=2, num_classes=3),
            schedule=schedule,
            size=SIZE,
            context=Context(labels=torch.tensor([1])),
            sampler=unipc if schedule.lag == 1 else ancestral(),
            guidance=guidance,
            sinks=1,
            sink_decay=0.9,
            context_noise=0.1,
            noise=noise,
            seed=3,
        )

    first, second = begin(FreeNoise(3)), begin(FreeNoise(3))
    for _ in range(4):
        next(first)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    expected = [next(first) for _ in range(4)]
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert all(torch.equal(next(second), latent) for latent in expected)


def test_shown_frames_are_saved_too() -> None:
    def begin() -> Any:
        actions = Context(actions=torch.arange(40)[None] % 3)
        dit = random_dit(action_dim=3)
        return rollout(dit, schedule=autoregressive(2, block=2), size=SIZE, window=4, sinks=1, context=actions)

    first, second = begin(), begin()
    for _ in range(4):
        next(first)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(next(first), next(second)) for _ in range(3))


@pytest.mark.parametrize("causal", [True, False])
def test_a_clip_goes_on(causal: bool) -> None:
    """Of a clip made in one go, the second half follows from the first half as its prompt."""
    dit = random_dit(causal=causal, window=3 if causal else None, action_dim=3)
    actions = Context(actions=torch.arange(FRAMES)[None] % 3)
    whole = clip(dit, schedule=autoregressive(3), window=3, context=actions)
    noise = TableNoise()
    noise.next = 3
    rest = clip(
        dit,
        schedule=autoregressive(3),
        window=3,
        context=actions,
        prompt=whole[:, :, :3],
        size=None,
        num_frames=FRAMES - 3,
        noise=noise,
    )
    torch.testing.assert_close(rest, whole[:, :, 3:], rtol=0, atol=1e-12)


def test_an_image_begins_a_block() -> None:
    """One frame does not fill a block of three: it is kept inside of it, and what comes out begins behind it."""
    dit, image = random_dit(causal=True, block=3, window=3), latents(1, 3, 1, *SIZE, seed=4)
    slabs = list(rollout(dit, schedule=rolling(2, block=3), prompt=image, num_frames=5, noise=TableNoise()))
    assert [slab.shape[2] for slab in slabs] == [2, 3]
    other = clip(dit, schedule=rolling(2, block=3), prompt=image + 1, size=None, num_frames=5)
    assert (torch.cat(slabs, 2) - other).abs().amax((0, 1, 3, 4)).min() > 1e-6  # every frame saw it


@pytest.mark.parametrize("context_noise", [0.0, 0.2])
def test_between_two_frames(context_noise: float) -> None:
    dit = random_dit()
    ends = {0: latents(1, 3, *SIZE, seed=4), 5: latents(1, 3, *SIZE, seed=5)}
    made = clip(dit, schedule=full_sequence(4), num_frames=6, keyframes=ends, context_noise=context_noise, sampler=heun)
    assert torch.equal(made[:, :, 0], ends[0])
    assert torch.equal(made[:, :, 5], ends[5])
    moved = clip(dit, schedule=full_sequence(4), num_frames=6, keyframes={**ends, 5: ends[5] + 1}, sampler=heun)
    assert (made - moved)[:, :, 1:5].abs().amax((0, 1, 3, 4)).min() > 1e-6


def test_conditions_follow_the_frames() -> None:
    dit = random_dit(causal=True, window=2, action_dim=3)
    actions = torch.arange(FRAMES)[None] % 3
    asked: list[tuple[int, int]] = []

    def steer(start: int, stop: int) -> Context:
        asked.append((start, stop))
        return Context(actions=actions[:, start:stop])

    steered = clip(dit, schedule=fifo(3), context=steer)
    assert torch.equal(steered, clip(dit, schedule=fifo(3), context=Context(actions=actions)))
    assert max(stop for _, stop in asked) == FRAMES
    with pytest.raises(InputError, match="has 7 frames, frame 7 is asked for"):
        clip(dit, schedule=fifo(3), context=Context(actions=actions), num_frames=8)


def test_noise_of_later_windows_is_shuffled() -> None:
    noise, generator = FreeNoise(4), torch.Generator().manual_seed(0)
    drawn = torch.cat([noise.draw(torch.empty(1, 2, n, 2, 2), generator) for n in (3, 2, 4, 3)], 2)
    first = {tuple(frame.flatten().tolist()) for frame in drawn[0].unbind(1)[:4]}
    for start in (4, 8):
        assert {tuple(frame.flatten().tolist()) for frame in drawn[0].unbind(1)[start : start + 4]} == first
    assert len(first) == 4


def test_nothing_grows() -> None:
    """What is held after 8 frames is what is held after 40, for every kind of memory."""

    def held(state: object) -> int:
        if isinstance(state, Tensor):
            return state.nbytes
        parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else []
        return sum(map(held, parts))

    causal = random_dit(causal=True, window=2)
    for made in (
        rollout(causal, schedule=autoregressive(2), size=SIZE, sinks=1, guidance=history(1.5, noise=0.2)),
        rollout(causal, schedule=rolling(2, block=2), size=SIZE, sampler=unipc),
        rollout(random_dit(), schedule=fifo(4), size=SIZE, window=2, noise=FreeNoise(3)),
    ):
        sizes = []
        for _ in range(2):
            for _ in range(12):
                next(made)
            sizes.append(held(made.state_dict()))
        assert sizes[0] == sizes[1]


def test_streamed_decoding_is_decoding_the_whole() -> None:
    ae = vl.build("vidlatent-tiny", seed=0)
    channels = ae.latent_spec.channels
    dit = random_dit(channels=channels, causal=True, window=2, dtype=torch.float32)
    made = [ae.denormalize(slab) for slab in rollout(dit, schedule=autoregressive(2), size=SIZE, num_frames=4)]
    with ae.stream_decoder() as decoder:
        frames = [*(decoder.push(slab) for slab in made), decoder.finish()]
    whole = ae.decode(torch.cat(made, 2))
    torch.testing.assert_close(torch.cat(frames, 2), whole, rtol=0, atol=2e-5)


def test_every_seed_is_another_clip() -> None:
    dit = random_dit(causal=True, window=2)
    clips = [torch.cat(list(rollout(dit, schedule=fifo(2), size=SIZE, num_frames=3, seed=s)), 2) for s in (0, 0, 1)]
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_refusals_say_what_to_do() -> None:
    causal, full = random_dit(causal=True, block=2), random_dit()
    image = latents(1, 3, 1, *SIZE)
    for message, dit, options in (
        ("give size", full, {"size": None}),
        ("say with window= how many finished ones", full, {}),
        ("blocks of 1; allowed are multiples of the model's, 2", causal, {}),
        ("would remember every frame", causal, {"schedule": autoregressive(2, block=2), "num_frames": None}),
        ("which only causal models keep", full, {"sink_decay": 0.5}),
        ("num_frames=0: allowed are numbers from 1", full, {"num_frames": 0}),
        ("context_noise=1.0: allowed is 0 to below 1", full, {"context_noise": 1.0}),
        (r"keyframe 2 of shape .* allowed is \(1, 3, 4, 4\)", full, {"keyframes": {2: image}}),
        ("give one of them", full, {"prompt": image, "base": image}),
        ("room for 1 to 3", full, {"schedule": fifo(3), "base": image.repeat(1, 1, 5, 1, 1)}),
        (r"allowed is \(B, 3, t, h, w\)", full, {"prompt": image[:, :2]}),
    ):
        with pytest.raises(InputError, match=message):
            rollout(dit, **{"schedule": autoregressive(2), "size": SIZE, "num_frames": 4} | options)
    with pytest.raises(InputError, match="guided by other branches"):
        rollout(full, schedule=fifo(2), size=SIZE, guidance=history(2.0)).load_state_dict(
            rollout(full, schedule=fifo(2), size=SIZE).state_dict()
        )
