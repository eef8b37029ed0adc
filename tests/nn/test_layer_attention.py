"""Attention against a plain softmax, position by position."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, random_like, randomise, seeds
from torch import Tensor, nn

from vidlatent.nn import FrameAttention, TemporalAttention
from vidlatent.streaming import H, Plan, SlabStream, T


def softmax_attention(module: nn.Module, tokens: Tensor, *, causal: bool) -> Tensor:
    """Attention over `(tokens, C)`, one head and one query at a time."""
    length, channels = tokens.shape
    size = channels // module.heads
    q, k, v = (tokens @ module.to_qkv.weight.T + module.to_qkv.bias).split(channels, 1)
    answer = torch.empty_like(tokens)
    for head in range(module.heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(length):
            seen = slice(0, i + 1) if causal else slice(None)
            scores = (k[seen, part] @ q[i, part]) / size**0.5
            weights = (scores - scores.max()).exp()
            answer[i, part] = (weights / weights.sum()) @ v[seen, part]
    return answer @ module.to_out.weight.T + module.to_out.bias


@torch.no_grad()
def frame_attention(module: FrameAttention, x: Tensor) -> Tensor:
    want = torch.empty(x.shape, dtype=x.dtype)
    for b in range(x.shape[0]):
        for t in range(x.shape[2]):
            tokens = x[b, :, t].flatten(1).T.contiguous()
            want[b, :, t] = softmax_attention(module, tokens, causal=False).T.reshape(x[b, :, t].shape)
    return want


@torch.no_grad()
def temporal_attention(module: TemporalAttention, x: Tensor) -> Tensor:
    want = torch.empty(x.shape, dtype=x.dtype)
    for b in range(x.shape[0]):
        for h in range(x.shape[3]):
            for w in range(x.shape[4]):
                want[b, :, :, h, w] = softmax_attention(module, x[b, :, :, h, w].T.contiguous(), causal=True).T
    return want


REFERENCES = {FrameAttention: frame_attention, TemporalAttention: temporal_attention}


@pytest.mark.parametrize("kind", REFERENCES)
@examples(25)
@given(data=st.data(), x=clips(channels=4, t=5, h=5, w=3), heads=st.sampled_from([1, 2, 4]), seed=seeds)
def test_attention_is_a_plain_softmax_and_sweeps_exactly(kind, data, x: Tensor, heads: int, seed: int) -> None:
    module = randomise(kind(4, heads=heads), seed, x.dtype)
    with torch.no_grad():
        assert_close(module(x), REFERENCES[kind](module, x))
    assert_sweeps(data, module, x)


def test_frame_attention_waits_for_rows_and_not_for_frames() -> None:
    module, slab = FrameAttention(4).requires_grad_(False), torch.randn(1, 4, 3, 2, 5)
    rows, frames = SlabStream(module, Plan((H,), strip=2)), SlabStream(module, Plan((T,), chunk=3))
    assert [rows.push(slab).shape, rows.push(slab).shape] == [(1, 4, 3, 0, 5)] * 2
    assert rows.finish().shape == (1, 4, 3, 4, 5)
    assert [frames.push(slab).shape, frames.finish().shape[T]] == [slab.shape, 0]


def test_temporal_attention_never_sees_the_future_and_remembers_all_of_the_past() -> None:
    module = randomise(TemporalAttention(4, heads=2), 0).requires_grad_(False)
    x = random_like(torch.empty(1, 4, 6, 2, 2, dtype=torch.double), 1)
    for frame in range(6):
        changed = x.clone()
        changed[:, :, frame] += 1
        differs = (module(x) != module(changed)).flatten(3).any(3).any(1)[0]
        assert differs.tolist() == [t >= frame for t in range(6)]
