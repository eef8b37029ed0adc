"""The rolling cache: what it holds, evicts and brings back."""

import pytest
import torch
from diffusion_helpers import latents, random_dit

from vidlatent.diffusion import KVCache
from vidlatent.errors import InputError


def filled(frames: int, **options: object) -> KVCache:
    """A cache of one layer to which frames of value 0, 1, 2 ... were added one by one."""
    cache = KVCache(**options)
    for i in range(frames):
        part = torch.full((1, 1, 2, 1, 4), float(i))
        cache.extend(0, part, part, stage=True)
        cache.commit()
    return cache


def held(cache: KVCache) -> list[float]:
    return cache.layers[0][0][0, :, 0, 0, 0].tolist()


def test_sinks_stay_and_the_window_moves() -> None:
    assert held(filled(7, window=3)) == [4, 5, 6]
    assert held(filled(7, window=3, sinks=2)) == [0, 1, 4, 5, 6]
    assert held(filled(7)) == [0, 1, 2, 3, 4, 5, 6]
    assert filled(7, window=0).frames == 0


def test_moving_average_of_what_left() -> None:
    """After 0, 1 | 2: 2 leaves to slot 0, then 3 to slot 1, then 4 to slot 0."""
    assert held(filled(6, window=1, sinks=2, sink_decay=0.5)) == [2.5, 2.0, 5]
    assert held(filled(6, window=1, sinks=2, sink_decay=1.0)) == [0, 1, 5]


@torch.no_grad()
def test_a_pass_that_fails_leaves_nothing() -> None:
    dit = random_dit(causal=True, depth=3)
    z, cache = latents(1, 3, 1, 4, 4), dit.new_cache()
    dit(z, torch.zeros(1), cache=cache, commit=True)
    hook = dit.blocks[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dit(z, torch.zeros(1), cache=cache, commit=True)
    hook.remove()
    assert cache.frames == 1
    dit(z, torch.zeros(1), cache=cache, commit=True)
    assert cache.frames == 2


@torch.no_grad()
def test_saved_and_restored() -> None:
    dit = random_dit(causal=True, window=2)
    z, cache, again = latents(1, 3, 5, 4, 4), dit.new_cache(sinks=1), dit.new_cache(sinks=1)
    for i in range(4):
        dit(z[:, :, i : i + 1], torch.zeros(1), cache=cache, commit=True)
    again.load_state_dict(cache.state_dict())
    answers = [dit(z[:, :, 4:], torch.ones(1), cache=c) for c in (cache, again)]
    assert torch.equal(*answers)
    assert again.num_bytes == cache.num_bytes == 2 * 2 * 3 * 4 * 24 * 8  # keys and values, layers, frames, tokens, dim


def test_refusals() -> None:
    with pytest.raises(InputError, match="window=-1"):
        KVCache(window=-1)
    with pytest.raises(InputError, match=r"sink_decay=1.5: allowed is 0 to 1"):
        KVCache(sinks=1, sink_decay=1.5)
