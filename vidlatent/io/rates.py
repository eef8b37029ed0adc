"""Frame rates and times as exact fractions."""

import math
from fractions import Fraction

from vidlatent.errors import InputError

Seconds = int | float | Fraction
Rate = int | float | Fraction


def as_fps(value: Rate) -> Fraction:
    """Turn a frame rate into a fraction; 29.97 becomes 30000/1001, which it stands for.

    Raises:
        InputError: Not a positive finite number.
    """
    _check_number("fps", value)
    if value <= 0:
        raise InputError(f"fps={value}: a frame rate is positive, such as 25 or Fraction(30000, 1001)")
    if isinstance(value, int | Fraction):
        return Fraction(value)
    ntsc = Fraction(round(value * 1.001) * 1000, 1001)
    # Half a unit in the second decimal: 23.98, 29.97, 59.94 and 119.88 are all meant as n * 1000/1001.
    if ntsc and abs(float(ntsc) - value) < 0.005 and not float(value).is_integer():
        return ntsc
    return Fraction(value).limit_denominator(1001)


def as_seconds(name: str, value: Seconds) -> Fraction:
    """Turn a time into a fraction of seconds.

    Raises:
        InputError: Not a finite number, or negative.
    """
    _check_number(name, value)
    if value < 0:
        raise InputError(f"{name}={value}: seconds count from the first frame, so from 0")
    return Fraction(value)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise InputError(f"{name}={value!r}: expected an int, a float or a Fraction")
    if not math.isfinite(value):
        raise InputError(f"{name}={value}: expected a finite number")
