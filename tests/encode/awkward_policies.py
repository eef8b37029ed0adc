"""Policies under which a decode process misbehaves at videos of certain heights, as a broken decoder would."""

import os
import signal
import time
from dataclasses import dataclass
from fractions import Fraction

from vidlatent.encode.policy import ClipPolicy, Shape

SEGFAULT, HANG, ERROR, SHRUG = 34, 36, 38, 42


@dataclass(frozen=True)
class Awkward(ClipPolicy):
    """Misbehaves where a shape is chosen, which happens in the decode process."""

    def choose(self, height: int, width: int, fps: Fraction, seconds: Fraction | None) -> Shape:
        if height == SEGFAULT:
            os.kill(os.getpid(), signal.SIGSEGV)
        if height == HANG:
            time.sleep(1000)
        if height == ERROR:
            raise RuntimeError("the library gave up")
        return super().choose(height, width, fps, seconds)
