"""Published transformers, at tiny random sizes, in our rollouts."""

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from vidlatent.diffusion import Context, Partitioned, autoregressive, classifier_free, fifo, full_sequence, rollout
from vidlatent.errors import InputError
from vidlatent.integrations.diffusers_dit import Kind, adapt

FRAMES, SIZE = 4, (4, 6)


def wan(**overrides: Any) -> Any:
    torch.manual_seed(0)
    values = {"num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 3, "out_channels": 3, "text_dim": 8}
    sizes = {"freq_dim": 16, "ffn_dim": 16, "num_layers": 2, "rope_max_seq_len": 32}
    return diffusers.WanTransformer3DModel(**values | sizes | overrides).eval()


def ltx() -> Any:
    torch.manual_seed(0)
    return diffusers.LTXVideoTransformer3DModel(
        in_channels=3,
        out_channels=3,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=8,
        num_layers=2,
    ).eval()


def cogvideox() -> Any:
    torch.manual_seed(0)
    return diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=3,
        out_channels=3,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=2,
        sample_width=6,
        sample_height=4,
        sample_frames=13,
        max_text_seq_length=5,
    ).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


TEXT = Context(text=noise(1, 5, 8, seed=1))


@torch.no_grad()
def test_a_full_sequence_is_diffusers_own_sampling() -> None:
    transformer, steps = wan(), 4
    z = noise(1, 3, FRAMES, *SIZE)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).numpy())
    expected = z
    for time in scheduler.timesteps:
        velocity = transformer(expected, time.expand(1), TEXT.text).sample
        expected = scheduler.step(velocity, time, expected).prev_sample

    class Given:
        def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
            return z

    dit = adapt(transformer, scheduler=scheduler)
    schedule = full_sequence(steps, shift=3.0)
    [made] = rollout(dit, schedule=schedule, num_frames=FRAMES, size=SIZE, context=TEXT, noise=Given())
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("make", [wan, ltx, cogvideox])
def test_a_frame_of_one_level_is_answered_as_in_a_clip_of_that_level(make: Any) -> None:
    """With one level it is the plain call; a model of one time a clip is asked at each level for its frames."""
    transformer = make()
    cog = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction") if make is cogvideox else None
    dit, z = adapt(transformer, scheduler=cog), noise(1, 3, FRAMES, *SIZE)
    one = dit(z, torch.full((1,), 0.4), TEXT)
    assert one.isfinite().all()
    if make is wan:
        plain = transformer(z, torch.full((1,), 400.0), TEXT.text).sample
        torch.testing.assert_close(one, plain, rtol=0, atol=1e-5)
    mixed = dit(z, torch.tensor([[0.4, 0.4, 0.7, 0.7]]), TEXT)
    assert (mixed - one)[:, :, 2:].abs().max() > 1e-4
    if make is cogvideox:
        latents = dit.path.coefficients(dit.path.time(torch.tensor([0.4, 0.7], dtype=torch.float64)))
        scale = sum(latents).float()
        x = z * scale[[0, 0, 1, 1]][:, None, None]
        time = dit.path.time(torch.tensor([0.4]))
        answer = transformer(x.transpose(1, 2), TEXT.text, time).sample.transpose(1, 2)
        alpha, sigma = (part[0].float() for part in latents)
        velocity = ((sigma - alpha) * x + (alpha + sigma) * answer) / (alpha**2 + sigma**2)
        torch.testing.assert_close(mixed[:, :, :2], velocity[:, :, :2], rtol=0, atol=1e-4)


@pytest.mark.parametrize("make", [wan, ltx, cogvideox])
def test_fifo_goes_on_for_ever(make: Any) -> None:
    scheduler = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction") if make is cogvideox else None
    queue = Partitioned(adapt(make(), scheduler=scheduler), frames=FRAMES, lookahead=2)
    made = rollout(
        queue,
        schedule=fifo(FRAMES, partitions=2),
        base=noise(1, 3, FRAMES, *SIZE),
        context=TEXT,
        guidance=classifier_free(2.0),
    )
    frames = [next(made) for _ in range(6)]
    assert all(frame.shape == (1, 3, 1, *SIZE) and frame.isfinite().all() for frame in frames)


def test_chunks_go_on_from_a_prompt() -> None:
    schedule = autoregressive(2, block=2)
    made = rollout(adapt(wan()), schedule=schedule, prompt=noise(1, 3, 2, *SIZE), window=2, num_frames=5)
    assert [slab.shape[2] for slab in made] == [2, 2, 1]


def test_half_precision_stays_in_the_model() -> None:
    dit = adapt(wan().to(torch.bfloat16))
    [made] = rollout(dit, schedule=full_sequence(2), num_frames=3, size=SIZE)
    assert made.dtype == torch.float32


def test_refusals() -> None:
    with pytest.raises(InputError, match="takes 6 channels and gives 3"):
        adapt(wan(in_channels=6))
    with pytest.raises(InputError, match="Linear is not among WanTransformer3DModel"):
        adapt(torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="conditioned on text"):
        adapt(wan())(noise(1, 3, 2, *SIZE), torch.ones(1), Context(labels=torch.tensor([1])))
    patched = adapt(wan(patch_size=(2, 2, 2)))
    with pytest.raises(InputError, match="patches of 2 frames"):
        patched(noise(1, 3, 2, *SIZE), torch.ones(1))


@torch.no_grad()
def test_a_class_of_ones_own_is_called_as_told() -> None:
    class Mine(torch.nn.Linear):
        config = type("Config", (dict,), {"in_channels": 3, "out_channels": 3})(text_dim=8)

    kind = Kind(lambda model, x, times, text, mask: x * times[:, None, None, None, None], "clip")
    z = noise(1, 3, 2, *SIZE)
    answer = adapt(Mine(1, 1), kind=kind)(z, torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(answer, z * torch.tensor([250.0, 500.0])[:, None, None])
