"""The window against its definition, evaluated tick by tick over all frames."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidlatent.errors import InputError
from vidlatent.io.backend import Shown
from vidlatent.io.window import Window

millis = st.integers(0, 3000).map(lambda n: Fraction(n, 1000))


@st.composite
def timelines(draw: st.DrawFn) -> list[Shown]:
    """Variable gaps, zero-length ones among them."""
    gaps = draw(st.lists(st.integers(0, 200), min_size=1, max_size=25))
    times = [Fraction(sum(gaps[:i]), 1000) for i in range(len(gaps))]
    last = Fraction(draw(st.integers(1, 200)), 1000)
    durations = [b - a for a, b in pairwise(times)] + [last]
    return [Shown(at, length, lambda: torch.empty(0)) for at, length in zip(times, durations, strict=True)]


@given(timelines(), millis, st.none() | millis, st.fractions(Fraction(1, 2), 70, max_denominator=1001))
def test_resampling_shows_what_is_on_screen(
    frames: list[Shown], start: Fraction, stop: Fraction | None, fps: Fraction
) -> None:
    if stop is not None and stop <= start:
        return
    slack = min(Fraction(1, 1000), 1 / fps / 4)
    end = frames[-1].pts_seconds + frames[-1].duration_seconds
    expected = []
    k = 0
    while (tick := start + k / fps) + slack < end and (stop is None or tick < stop):
        expected.append((tick, max(i for i, f in enumerate(frames) if f.pts_seconds <= tick + slack)))
        k += 1
    got = [(at, frames.index(shown)) for at, shown in Window(start, stop, fps).select(iter(frames))]
    same_times = {id(f): max(i for i, g in enumerate(frames) if g.pts_seconds == f.pts_seconds) for f in frames}
    assert [at for at, _ in got] == [at for at, _ in expected]
    assert [same_times[id(frames[i])] for _, i in got] == [same_times[id(frames[i])] for _, i in expected]


@given(timelines(), millis, st.none() | millis)
def test_own_times_are_half_open(frames: list[Shown], start: Fraction, stop: Fraction | None) -> None:
    if stop is not None and stop <= start:
        return
    got = [at for at, _ in Window(start, stop).select(iter(frames))]
    assert got == [f.pts_seconds for f in frames if f.pts_seconds >= start and (stop is None or f.pts_seconds < stop)]


def test_reads_no_further_than_the_stop() -> None:
    read = []

    def source() -> object:
        for k in range(100):
            read.append(k)
            yield Shown(Fraction(k, 10), Fraction(1, 10), lambda: torch.empty(0))

    for fps in (None, Fraction(7)):
        read.clear()
        list(Window(Fraction(1), Fraction(2), fps).select(source()))  # type: ignore[arg-type]
        assert max(read) <= 21


def test_whole_milliseconds_are_no_judder() -> None:
    """30 fps stored in milliseconds and shown at 30 fps gives each frame once."""
    times = [Fraction(round(1000 * k / 30), 1000) for k in range(31)]
    frames = [Shown(a, b - a, lambda: torch.empty(0)) for a, b in pairwise(times)]
    assert [frames.index(f) for _, f in Window(fps=Fraction(30)).select(iter(frames))] == list(range(30))


def test_last_of_several_at_one_time_is_shown() -> None:
    frames = [Shown(Fraction(0), Fraction(1), lambda: torch.empty(0)) for _ in range(3)]
    assert [f is frames[2] for _, f in Window(fps=Fraction(1)).select(iter(frames))] == [True]


@pytest.mark.parametrize(("start", "stop"), [(1, 1), (2, 1), (-1, None), (None, 0)])
def test_impossible_ranges_are_refused(start: float | None, stop: float | None) -> None:
    with pytest.raises(InputError):
        Window.of(start, stop, None)
