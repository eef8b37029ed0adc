"""The contract suite is itself held to deliberate bugs: it must catch each, and pass what is right."""

import math

import pytest
import torch
from deliberate_bugs import BUGS, NoInnerIndex, PadsEachSlab
from sweep_helpers import random_like, randomise
from torch import Tensor

from vidlatent.nn import Chain, Conv3d, FrameAttention, GroupNorm, Residual, RMSNorm, TemporalAttention
from vidlatent.streaming import H, Sweep, Sweepable, T, Window
from vidlatent.testing import assert_streams_exactly, relative_error
from vidlatent.testing.streams import ALL_AXES


def clip(dtype: torch.dtype = torch.double, rows: int = 2) -> Tensor:
    return random_like(torch.empty(1, 2, 9, rows, 3, dtype=dtype), 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_is_caught(bug: str, dtype: torch.dtype) -> None:
    with pytest.raises(AssertionError, match="axes"):
        assert_streams_exactly(randomise(BUGS[bug](), 0, dtype), clip(dtype))


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_is_invisible_on_whole_clips(bug: str) -> None:
    module, x = randomise(BUGS[bug](), 0), clip()
    with torch.no_grad():
        first, again = module(x), module(x)
    assert torch.equal(first.nan_to_num(5e5), again.nan_to_num(5e5))
    assert first.numel()


def test_a_bug_of_nesting_shows_only_where_axes_are_nested() -> None:
    module, x = randomise(NoInnerIndex(2, 2, t=Window.causal(3)), 0), clip()
    assert_streams_exactly(module, x, [(T,), (H,), (H, T)])
    with pytest.raises(AssertionError, match=r"axes \(2, 3\), outer slabs \[.*\], inner slabs of 1: "):
        assert_streams_exactly(module, x, [(T, H)])


def test_a_bug_along_one_axis_shows_only_there() -> None:
    module = randomise(PadsEachSlab(2, 2, h=Window.centred(3)), 0)
    assert assert_streams_exactly(module, clip(rows=6), [(T,)]) <= 1e-12
    for order in ((H,), (T, H), (H, T)):
        with pytest.raises(AssertionError, match=rf"axes \({order[0]},"):
            assert_streams_exactly(module, clip(rows=6), [order])


def right() -> Chain:
    three = Window.centred(3, mode="replicate")
    return Chain(
        Conv3d(2, 4, t=Window.causal(3), h=three, w=three),
        Residual(Chain(RMSNorm(4), Conv3d(4, 4, t=Window.centred(5), h=three))),
        Residual(Chain(GroupNorm(2, 4, over="frame"), FrameAttention(4))),
        Residual(TemporalAttention(4)),
        Conv3d(4, 2, t=Window(3, 2, 2, 0, "reflect"), h=Window(3, 2, 0, 1)),
    )


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_right_module_passes_with_its_worst_error(dtype: torch.dtype, most: float) -> None:
    error = assert_streams_exactly(randomise(right(), 0, dtype), clip(dtype, rows=7), partitions=6)
    assert 0 <= error <= most


class Slightly(Sweepable):
    """Off by a known factor, in a sweep along `axis` only."""

    def __init__(self, axis: int, error: float) -> None:
        super().__init__()
        self.axis, self.error = axis, error

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return x * (1 + self.error) if sweep and sweep.axes == (self.axis,) else x


@pytest.mark.parametrize("axis", [T, H])
def test_the_worst_error_is_returned_and_held_to_the_tolerance(axis: int) -> None:
    module = Slightly(axis, 2.0**-20)
    assert assert_streams_exactly(module, clip(), tolerance=1e-6) == pytest.approx(2.0**-20, rel=1e-9)
    for tolerance in (None, 9e-7):
        with pytest.raises(AssertionError, match=r"relative error 9\.54e-07 exceeds"):
            assert_streams_exactly(module, clip(), tolerance=tolerance)
    assert assert_streams_exactly(module, clip(torch.float32)) == pytest.approx(2.0**-20, rel=0.1)


class Fragile(Sweepable):
    """Refuses a slab of two frames."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if x.shape[T] == 2:
            raise RuntimeError("cannot take two frames")
        return x


def test_a_sweep_that_raises_is_a_failure_that_names_the_partition() -> None:
    with pytest.raises(AssertionError, match=r"axes \(2,\), outer slabs \[.*2.*\]: .*cannot take two") as failure:
        assert_streams_exactly(Fragile(), clip())
    assert isinstance(failure.value.__cause__, RuntimeError)


class Recorder(Sweepable):
    """The identity; remembers what it was asked to sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...], bool]] = []

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep:
            self.calls.append((sweep.axes, tuple(x.shape[2:4]), sweep.last[sweep.axes[0]]))
        return x


def test_it_tries_every_order_many_thicknesses_and_both_ways_to_end() -> None:
    recorder = Recorder()
    assert_streams_exactly(recorder, clip(rows=8))
    assert {axes for axes, _, _ in recorder.calls} == set(ALL_AXES) == {(T,), (H,), (T, H), (H, T)}
    for axes in ALL_AXES:
        slabs = [(shape[axes[0] - T], last) for a, shape, last in recorder.calls if a == axes]
        assert len({thickness for thickness, _ in slabs}) >= 4
        assert {thickness == 0 for thickness, last in slabs if last} == {True, False}
    again = Recorder()
    assert_streams_exactly(again, clip(rows=8))
    assert again.calls == recorder.calls  # a failure repeats
    assert_streams_exactly(again, clip(rows=8), seed=1)
    assert again.calls[len(recorder.calls) :] != recorder.calls


def test_relative_error() -> None:
    want = torch.tensor([1.0, -4.0, 0.0])
    assert relative_error(want + torch.tensor([0.0, 0.0, 1.0]), want) == 0.25
    assert relative_error(want, want) == 0
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0
    assert relative_error(torch.ones(3), torch.zeros(3)) > 1e30
    assert relative_error(torch.ones(0), torch.zeros(0)) == 0
    for got in (torch.tensor([1.0, -4.0, math.nan]), torch.tensor([math.inf, -4.0, 0.0])):
        assert not relative_error(got, want) <= 1e-5


@pytest.mark.parametrize("axes", [["T", "H", "TH"], [T, H, (T, H)], [(T,), [H], ("T", "H")], "TH"])
def test_axes_are_written_as_one_likes(axes: list) -> None:
    assert assert_streams_exactly(right().double(), clip(), axes, partitions=1) <= 1e-12


@pytest.mark.parametrize("axes", [["W"], [4], ["TT"], [()]])
def test_axes_that_are_none(axes: list) -> None:
    with pytest.raises(ValueError, match="'TH' and 'HT'"):
        assert_streams_exactly(right().double(), clip(), axes)
