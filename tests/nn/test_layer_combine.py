"""Combinators: branches of different lookahead meet."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, random_like, randomise, seeds
from torch import Tensor, nn

from vidlatent.nn import (
    CausalFrameAttention,
    Chain,
    Concat,
    Conv3d,
    FrameAttention,
    GroupNorm,
    Nearest,
    Residual,
    SiLU,
    TemporalAttention,
    Trim,
)
from vidlatent.streaming import H, Plan, Pointwise, SlabStream, Sweep, Sweepable, T, Window

same = st.one_of(
    st.builds(lambda k, m: Window.centred(2 * k - 1, mode=m), st.integers(1, 3), st.sampled_from(["zeros", "reflect"])),
    st.builds(
        lambda k, a, m: Window(k + a, 1, k - 1, a, m), st.integers(1, 3), st.integers(0, 2), st.just("replicate")
    ),
    st.builds(lambda k: Window.causal(k, mode="replicate"), st.integers(1, 4)),
)
"""Windows that keep the length and look ahead by different amounts."""


@st.composite
def branches(draw: st.DrawFn) -> Sweepable:
    """Something that keeps channels and sizes, and answers at once, late or only at the end."""
    kinds = ["conv", "conv", "conv", "pair", "identity", "frame", "past", "time", "frames", "clip"]
    return {
        "conv": lambda: Conv3d(4, 4, t=draw(same), h=draw(same)),
        "pair": lambda: Chain(Conv3d(4, 4, t=draw(same)), SiLU(), Conv3d(4, 4, h=draw(same))),
        "identity": Chain,
        "frame": lambda: FrameAttention(4),
        "past": lambda: CausalFrameAttention(4, heads=2),
        "time": lambda: TemporalAttention(4),
        "frames": lambda: GroupNorm(2, 4, over="frame", eps=1e-2),
        "clip": lambda: GroupNorm(2, 4, eps=1e-2),
    }[draw(st.sampled_from(kinds))]()


@examples(50)
@given(st.data(), clips(channels=4, w=2), st.booleans(), seeds)
def test_residual_adds_what_belongs_together(data, x: Tensor, identity: bool, seed: int) -> None:
    body, shortcut = data.draw(branches()), None if identity else data.draw(branches())
    module = randomise(Residual(body, shortcut), seed, x.dtype)
    with torch.no_grad():
        assert_close(module(x), body(x) + (x if shortcut is None else shortcut(x)))
    assert_sweeps(data, module, x)


@examples(50)
@given(st.data(), clips(channels=4, w=2), st.integers(1, 4), seeds)
def test_concat_joins_what_belongs_together(data, x: Tensor, count: int, seed: int) -> None:
    parts = [data.draw(branches()) for _ in range(count)]
    module = randomise(Concat(*parts), seed, x.dtype)
    with torch.no_grad():
        assert torch.equal(module(x), torch.cat([part(x) for part in parts], 1))
    assert_sweeps(data, module, x)


@examples(25)
@given(st.data(), clips(channels=4, w=2), seeds)
def test_combinators_inside_combinators(data, x: Tensor, seed: int) -> None:
    inner = Residual(data.draw(branches()), Residual(data.draw(branches())))
    late = Chain(Residual(data.draw(branches())), Nearest((2, 2, 1)), Trim(T, before=1))
    mixed = Concat(Chain(Nearest((2, 2, 1)), Trim(T, before=1)), late)
    module = randomise(Chain(inner, mixed, Conv3d(8, 4, t=data.draw(same))), seed, x.dtype)
    assert_sweeps(data, module, x)


def test_a_chain_is_its_modules_one_after_the_other() -> None:
    one, two = randomise(Conv3d(2, 3), 0), randomise(Conv3d(3, 1), 1)
    x = random_like(torch.empty(1, 2, 2, 2, 2, dtype=torch.double), 0)
    assert torch.equal(Chain(one, two)(x), two(one(x)))
    assert Chain()(x) is x
    assert isinstance(Chain(one), nn.Sequential)
    assert isinstance(Chain(one), Sweepable)


def test_a_shortcut_waits_as_long_as_its_body_and_no_longer() -> None:
    body = Conv3d(4, 4, t=Window.centred(5), h=Window.centred(3)).requires_grad_(False)
    frames = SlabStream(Residual(body), Plan((T,), chunk=2))
    rows = SlabStream(Residual(body), Plan((H,), strip=2))
    x = torch.randn(1, 4, 6, 6, 3)
    assert [frames.push(s, last=i == 2).shape[T] for i, s in enumerate(x.split(2, T))] == [0, 2, 4]
    assert [rows.push(s, last=i == 2).shape[H] for i, s in enumerate(x.split(2, H))] == [1, 2, 3]


def test_behind_branches_an_axis_ends_when_it_has_ended_in_all_of_them() -> None:
    class Ends(Pointwise):
        """Says that what is behind it has not ended, as a barrier does that holds slabs."""

        def __init__(self, *axes: int) -> None:
            super().__init__()
            self.open = axes

        def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
            assert sweep is not None
            assert sweep.last == {T: True, H: True}  # no branch sees what another has said
            sweep.last |= dict.fromkeys(self.open, False)
            return x

    x = torch.ones(1, 1, 1, 1, 1)
    for parts, want in [
        ([Ends(), Ends()], {T: True, H: True}),
        ([Ends(T), Ends()], {T: False, H: True}),
        ([Ends(), Ends(H), Ends()], {T: True, H: False}),
        ([Ends(H), Ends(T)], {T: False, H: False}),
    ]:
        sweep = Sweep(T, H)
        sweep.last = {T: True, H: True}
        assert Concat(*parts)(x, sweep).shape == (1, len(parts), 1, 1, 1)
        assert sweep.last == want


def test_nothing_is_called_while_it_waits() -> None:
    called = []

    class Watched(SiLU):
        def apply_to(self, x: Tensor) -> Tensor:
            called.append(x.shape[H])
            return super().apply_to(x)

    model = Chain(FrameAttention(2), Residual(Watched())).requires_grad_(False)
    x = torch.randn(1, 2, 6, 12, 4)
    stream = SlabStream(model, Plan((T, H), chunk=3, strip=3))
    pieces = [stream.push(x[:, :, :3]), stream.push(x[:, :, 3:], last=True)]
    assert called == [3] * 8
    assert_close(torch.cat(pieces, T), model(x), tolerance=1e-5)
