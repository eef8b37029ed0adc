"""The transformer: its equivalences in float64, its conditions, its refusals."""

import pytest
import torch
from diffusion_helpers import latents, random_dit
from pydantic import ValidationError
from torch import Tensor

from vidlatent.diffusion import Causal, Context, KVCache, Local, TeacherForcing, VideoDiT, VideoDiTConfig, flow_loss
from vidlatent.errors import InputError

FRAMES = 8
CONDITIONED = {"num_classes": 4, "action_dim": 3, "text_dim": 5, "registers": 2}


def levels(batch: int = 2, frames: int = FRAMES) -> Tensor:
    return torch.rand(batch, frames, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def context() -> Context:
    generator = torch.Generator().manual_seed(2)
    return Context(
        labels=torch.tensor([1, 3]),
        actions=torch.randint(0, 3, (2, FRAMES), generator=generator),
        text=latents(2, 6, 5, seed=3),
        text_mask=torch.tensor([[True] * 6, [True] * 4 + [False] * 2]),
    )


def in_blocks(dit: VideoDiT, cache: KVCache, z: Tensor, t: Tensor, conditions: Context | None, size: int) -> Tensor:
    """Block after block through the cache, each committed."""
    parts = []
    for i in range(0, z.shape[2], size):
        part = conditions.frames(i, i + size) if conditions else None
        parts.append(dit(z[:, :, i : i + size], t[:, i : i + size], part, cache=cache, commit=True))
    return torch.cat(parts, 2)


@torch.no_grad()
@pytest.mark.parametrize(("block", "window"), [(1, None), (2, None), (1, 3), (2, 4), (1, 0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_cached_blocks_are_one_masked_pass(block: int, window: int | None, dtype: torch.dtype) -> None:
    """With a window the cache counts from its oldest frame, the masked pass from the first of the clip."""
    dit = random_dit(causal=True, block=block, window=window, dtype=dtype, **CONDITIONED)
    z, t = latents(2, 3, FRAMES, 4, 6).to(dtype), levels()
    whole, cache = dit(z, t, context()), dit.new_cache()
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(in_blocks(dit, cache, z, t, context(), block), whole, rtol=0, atol=tolerance)
    assert cache.frames == (FRAMES if window is None else window)


@torch.no_grad()
def test_blocks_together_are_blocks_apart() -> None:
    dit = random_dit(causal=True, block=2, window=2)
    z, t = latents(2, 3, FRAMES, 4, 4), levels()
    apart = in_blocks(dit, dit.new_cache(), z, t, None, 2)
    torch.testing.assert_close(in_blocks(dit, dit.new_cache(), z, t, None, 4), apart, rtol=0, atol=1e-12)


@torch.no_grad()
def test_teacher_forcing_is_the_cached_pass_on_clean_history() -> None:
    dit = random_dit(causal=True, block=2, window=4, action_dim=3)
    z0, z, t = latents(2, 3, FRAMES, 4, 4), latents(2, 3, FRAMES, 4, 4, seed=5), levels()
    actions = Context(actions=context().actions)
    both = dit(
        torch.cat([z0, z], 2),
        torch.cat([torch.zeros_like(t), t], 1),
        actions.repeat_frames(2),
        mask=TeacherForcing(FRAMES, Causal(2, 4)),
        positions=torch.arange(FRAMES).repeat(2),
    )[:, :, FRAMES:]
    cache, parts = dit.new_cache(), []
    for i in range(0, FRAMES, 2):
        part = actions.frames(i, i + 2)
        parts.append(dit(z[:, :, i : i + 2], t[:, i : i + 2], part, cache=cache))
        dit(z0[:, :, i : i + 2], torch.zeros(2, dtype=torch.float64), part, cache=cache, commit=True)
    torch.testing.assert_close(torch.cat(parts, 2), both, rtol=0, atol=1e-12)


@torch.no_grad()
def test_one_level_for_all_frames_is_one_level() -> None:
    dit = random_dit(registers=1)
    z, t = latents(2, 3, FRAMES, 4, 4), levels()[:, 0]
    assert torch.equal(dit(z, t), dit(z, t[:, None].expand(-1, FRAMES)))


@torch.no_grad()
def test_only_distances_in_time_matter() -> None:
    dit = random_dit()
    z, t = latents(2, 3, FRAMES, 4, 4), levels()
    far = dit(z, t, positions=torch.arange(FRAMES) + 1e6 + 0.5)
    torch.testing.assert_close(far, dit(z, t), rtol=0, atol=1e-7)
    stretched = dit(z, t, positions=torch.arange(FRAMES) * 1.5)
    assert (stretched - dit(z, t)).abs().max() > 1e-3


@torch.no_grad()
def test_who_sees_whom_may_be_set_on_the_model() -> None:
    dit = random_dit()
    z, t = latents(2, 3, FRAMES, 4, 4), levels()
    masked = dit(z, t, mask=Local(1))
    dit.predicate = Local(1)
    assert torch.equal(dit(z, t), masked)


@torch.no_grad()
def test_every_condition_counts_and_null_is_none_of_them() -> None:
    dit = random_dit(**CONDITIONED)
    z, t, given = latents(2, 3, FRAMES, 4, 4), levels(), context()
    null = dit(z, t)
    for name in ("labels", "actions", "text"):
        assert (dit(z, t, Context(**{name: getattr(given, name)})) - null).abs().max() > 1e-3
    dropped = Context(given.labels, given.actions, given.text, given.text_mask, torch.tensor([True, False]))
    answer = dit(z, t, dropped)
    torch.testing.assert_close(answer[0], dit(z, t, given)[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(answer[1], null[1], rtol=0, atol=1e-12)
    one_hot = torch.nn.functional.one_hot(given.actions, 3).double()
    assert torch.equal(dit(z, t, Context(actions=one_hot)), dit(z, t, Context(actions=given.actions)))


def test_dropping_conditions_is_per_sample() -> None:
    dropped = Context(labels=torch.zeros(4000, dtype=torch.long)).drop(0.3, torch.Generator().manual_seed(0))
    assert 0.25 < 1 - dropped.keep.double().mean() < 0.35
    assert not dropped.drop(1.0).keep.any()


@torch.no_grad()
def test_text_is_projected_once_per_cache() -> None:
    dit = random_dit(causal=True, text_dim=5)
    projected = []
    dit.context.text.register_forward_hook(lambda *_: projected.append(1))
    z, cache = latents(1, 3, 4, 4, 4), dit.new_cache()
    first, other = (Context(text=latents(1, 6, 5, seed=s)) for s in (1, 2))
    for i, conditions in enumerate((first, first, other)):
        dit(z[:, :, i : i + 1], torch.ones(1), conditions, cache=cache, commit=True)
    assert len(projected) == 2


def test_starts_at_zero_and_learns_from_there() -> None:
    dit = VideoDiT(VideoDiTConfig(channels=2, dim=32, depth=2, heads=2, patch=1, text_dim=4, registers=1))
    z, t = latents(8, 2, 2, 2, 2).float(), torch.full((8,), 0.5)
    assert not dit(z, t).any()
    optimizer = torch.optim.Adam(dit.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = flow_loss(dit, torch.ones_like(z), t, noise=z)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_gradient_checkpointing_changes_no_gradient() -> None:
    dit = random_dit(causal=True)
    z, t = latents(1, 3, 4, 4, 4), levels(1, 4)
    gradients = []
    for dit.gradient_checkpointing in (False, True):
        dit.zero_grad()
        dit(z, t).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in dit.parameters() if parameter.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_is_close(autocast: bool) -> None:
    dit = random_dit(causal=True, dtype=torch.float32, **CONDITIONED)
    z, t = latents(2, 3, FRAMES, 4, 4).float(), levels().float()
    with torch.no_grad():
        exact = dit(z, t, context())
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            half = (dit if autocast else dit.to(torch.bfloat16))(z, t, context(), cache=dit.new_cache(), commit=True)
    assert (half.float() - exact).square().mean() < 1e-3 * exact.square().mean()


def test_refusals_say_what_is_allowed() -> None:
    dit = random_dit(num_classes=4)
    z, t = latents(2, 3, FRAMES, 4, 4), levels()
    with pytest.raises(InputError, match=r"allowed is \(B, 3, t, h, w\) with h and w multiples of the patch, 2"):
        dit(z[..., :3], t)
    with pytest.raises(InputError, match=r"allowed are \(2,\) and \(2, 8\)"):
        dit(z, t[:, :3])
    with pytest.raises(InputError, match="context has text; this model is conditioned on labels"):
        dit(z, t, Context(text=latents(2, 3, 5)))
    with pytest.raises(InputError, match="labels is for a batch of 3"):
        dit(z, t, Context(labels=torch.tensor([0, 1, 2])))
    with pytest.raises(ValidationError, match="multiple of heads"):
        VideoDiTConfig(channels=3, dim=24, heads=5)
    with pytest.raises(ValidationError, match="window=3: allowed are multiples of block=2"):
        VideoDiTConfig(channels=3, causal=True, block=2, window=3)
