from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlatent.errors import InputError
from vidlatent.io.rates import as_fps, as_seconds


@pytest.mark.parametrize(
    ("given_rate", "meant"),
    [
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (25.0, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (30, Fraction(30)),
        (Fraction(2997, 125), Fraction(2997, 125)),
    ],
)
def test_rates_mean_what_people_mean(given_rate: float, meant: Fraction) -> None:
    assert as_fps(given_rate) == meant


@given(st.fractions(min_value=Fraction(1, 1000), max_value=1000))
def test_fractions_stay_exact(rate: Fraction) -> None:
    assert as_fps(rate) == rate


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "25", None, True])
def test_other_rates_are_refused(rate: object) -> None:
    with pytest.raises(InputError, match="fps"):
        as_fps(rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), "1"])
def test_other_times_are_refused(seconds: object) -> None:
    with pytest.raises(InputError, match="start"):
        as_seconds("start", seconds)  # type: ignore[arg-type]
