"""How many frames went by: what rules for the first frame, for single frames and for chunks go by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vidlatent.streaming import Sweep, Sweepable, T


def frames_before(module: Sweepable, x: Tensor, sweep: Sweep | None) -> int:
    """Frames that `module` was given before `x`, which is counted now; ask once for each slab."""
    if sweep is None or T not in sweep.axes:
        return 0
    passed = sweep.state(module, T, _Passed)
    passed.count += x.shape[T]
    return passed.count - x.shape[T]


@dataclass
class _Passed:
    count: int = 0
