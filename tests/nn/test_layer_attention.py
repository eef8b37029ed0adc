"""Attention against a plain softmax, position by position."""

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import ORDERS, assert_close, assert_sweeps, clips, examples, random_like, randomise, seeds
from torch import Tensor, nn

from vidlatent.nn import CausalFrameAttention, Chain, Conv3d, FrameAttention, Residual, TemporalAttention, attention
from vidlatent.streaming import H, Plan, SlabStream, T, Window, run
from vidlatent.streaming.meter import LiveStorage, empty_clip, to_meta


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


@torch.no_grad()
def causal_frame_attention(module: CausalFrameAttention, x: Tensor) -> Tensor:
    """All positions at once, with the block-causal mask as a matrix."""
    frame = torch.arange(x.shape[2]).repeat_interleave(x.shape[3] * x.shape[4])
    mask = frame[:, None] >= frame[None, :]
    tokens = x.flatten(2).transpose(1, 2)
    qkv = (tokens @ module.to_qkv.weight.T + module.to_qkv.bias).chunk(3, 2)
    q, k, v = (part.unflatten(2, (module.heads, -1)).transpose(1, 2) for part in qkv)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    return (attended @ module.to_out.weight.T + module.to_out.bias).transpose(1, 2).reshape(x.shape)


REFERENCES = {
    FrameAttention: frame_attention,
    TemporalAttention: temporal_attention,
    CausalFrameAttention: causal_frame_attention,
}


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


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_causal_frame_attention_inside_a_model_sweeps_exactly(order: tuple[int, ...]) -> None:
    three = Window.centred(3)
    attention = [Residual(CausalFrameAttention(4, heads=2)) for _ in range(2)]  # serial, each with a past of its own
    model = Chain(Conv3d(4, 4, t=three, h=three), attention[0], Conv3d(4, 4, t=three, h=three), attention[1])
    model = randomise(model, 2).requires_grad_(False)
    x = random_like(torch.empty(2, 4, 7, 8, 3, dtype=torch.double), 3)
    want = model(x)
    for thickness in (1, 2, 3):
        assert_close(run(model, x, Plan(order, chunk=thickness, strip=thickness)), want)


@pytest.mark.parametrize("order", [(), *ORDERS], ids=str)
def test_no_matrix_of_all_positions_is_ever_made(order: tuple[int, ...]) -> None:
    shape = (1, 2, 32, 8, 4)
    every_pair = (shape[2] * shape[3] * shape[4]) ** 2  # in bytes: as a matrix of booleans, the smallest there is
    module = to_meta(CausalFrameAttention(2).requires_grad_(False))
    with LiveStorage() as counter:
        run(module, empty_clip(shape, torch.float32), Plan(order, chunk=4, strip=4))
    assert 0 < counter.peak_bytes < every_pair
    tokens = empty_clip(shape, torch.float32).flatten(2).transpose(1, 2)
    with LiveStorage() as dense:  # that this counter would see one
        torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device="meta")
    assert dense.peak_bytes >= every_pair


@pytest.mark.parametrize("order", [(T,), (T, H), (H, T)], ids=str)
def test_the_past_is_kept_once_as_keys_and_values(order: tuple[int, ...]) -> None:
    module, x = CausalFrameAttention(4).requires_grad_(False), torch.randn(1, 4, 6, 4, 3)
    stream, held = SlabStream(module, Plan(order, chunk=2, strip=2)), []
    if order[0] == T:
        for slab in x.split(2, T):
            stream.push(slab)
            held.append(stream.sweep.state_bytes)
        assert held == [2 * x.nbytes // 3 * frames for frames in (1, 2, 3)]
    else:
        for slab in x.split(2, H):
            stream.push(slab)
            held.append(stream.sweep.state_bytes)
        # the slabs themselves and what was noted of them
        assert held == [3 * x.nbytes // 2, 3 * x.nbytes]


def test_causal_frame_attention_sees_its_frame_and_those_before() -> None:
    module = randomise(CausalFrameAttention(4, heads=2), 0).requires_grad_(False)
    x = random_like(torch.empty(1, 4, 5, 3, 2, dtype=torch.double), 1)
    for frame in range(5):
        changed = x.clone()
        changed[:, :, frame, 1, 1] += 1
        differs = (module(x) != module(changed)).any(1)[0].flatten(1)
        assert differs.all(1).tolist() == [t >= frame for t in range(5)]
        assert differs.any(1).tolist() == [t >= frame for t in range(5)]


def test_temporal_attention_never_sees_the_future_and_remembers_all_of_the_past() -> None:
    module = randomise(TemporalAttention(4, heads=2), 0).requires_grad_(False)
    x = random_like(torch.empty(1, 4, 6, 2, 2, dtype=torch.double), 1)
    for frame in range(6):
        changed = x.clone()
        changed[:, :, frame] += 1
        differs = (module(x) != module(changed)).flatten(3).any(3).any(1)[0]
        assert differs.tolist() == [t >= frame for t in range(6)]


@pytest.mark.parametrize("causal", [False, True])
def test_xformers_is_asked_in_its_own_layout_and_without_a_mask_tensor(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in with xformers' documented layout and masks; the real one needs CUDA."""
    asked = []

    class LowerTriangularFromBottomRightMask:
        pass

    def memory_efficient_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, attn_bias: object):
        asked.append(attn_bias)
        scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / q.shape[-1] ** 0.5
        if attn_bias is not None:
            unseen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) == 0
            scores = scores.masked_fill(unseen, -torch.inf)
        return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v)

    queries, keys, values = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    want = attention.attend(queries, keys, values, 2, causal=causal)
    ops = ModuleType("xformers.ops")
    ops.memory_efficient_attention = memory_efficient_attention
    ops.LowerTriangularFromBottomRightMask = LowerTriangularFromBottomRightMask
    monkeypatch.setitem(sys.modules, "xformers", ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    monkeypatch.setattr(attention, "installed", lambda name: True)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    with torch.no_grad():
        got = attention.attend(queries, keys, values, 2, causal=causal)
    assert len(asked) == 1
    assert isinstance(asked[0], LowerTriangularFromBottomRightMask) == causal
    assert_close(got, want, tolerance=1e-5)


@pytest.mark.parametrize("order", [(), (T,), (T, H)], ids=str)
def test_memory_of_frame_attention_grows_with_the_frame_and_not_with_its_square(order: tuple[int, ...]) -> None:
    """Latent grids of 1080p and 4K video at a stride of 8, 384 channels."""
    module, peaks = to_meta(FrameAttention(384).requires_grad_(False)), []
    for h, w in ((135, 240), (270, 480)):
        with LiveStorage() as counter, torch.no_grad():
            run(module, empty_clip((1, 384, 2, h, w), torch.float32), Plan(order, chunk=1, strip=h // 5))
        peaks.append(counter.peak_bytes)
    assert 3.5 < peaks[1] / peaks[0] < 4.1
    assert peaks[1] < 12 * 384 * 270 * 480 * 4 * 2
