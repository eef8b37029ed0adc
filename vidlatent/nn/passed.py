"""How many frames or rows went by: what rules for the first frame, for single frames, chunks and places go by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vidlatent.streaming import Sweep, Sweepable, T


def frames_before(module: Sweepable, x: Tensor, sweep: Sweep | None) -> int:
    """Frames that `module` was given before `x`, which is counted now; ask once for each slab."""
    return items_before(module, x, sweep, T)


def items_before(module: Sweepable, x: Tensor, sweep: Sweep | None, axis: int) -> int:
    """The same along T or H."""
    if sweep is None or axis not in sweep.axes:
        return 0
    passed = sweep.state(module, axis, _Passed)
    passed.count += x.shape[axis]
    return passed.count - x.shape[axis]


@dataclass
class _Passed:
    count: int = 0
