"""What a plan costs in time beyond the arithmetic, which is the same for every plan.

Constants are least-squares fits over measured runs: `python benchmarks/cost_model.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.streaming.tally import Needs


@dataclass(frozen=True)
class Cost:
    """Seconds per operator call, per byte that operators write, and per byte that state moves off the device."""

    per_call: float
    per_made_byte: float
    per_moved_byte: float

    def seconds(self, needs: Needs) -> float:
        """Estimated seconds, comparable between plans of one clip on one device only."""
        return (
            self.per_call * needs.calls
            + self.per_made_byte * needs.made_bytes
            + self.per_moved_byte * needs.moved_bytes
        )


CPU = Cost(per_call=40e-6, per_made_byte=0.13e-9, per_moved_byte=0.05e-9)
CUDA = Cost(per_call=10e-6, per_made_byte=0.5e-12, per_moved_byte=25e-12)
"""Not fitted: typical launch time, memory bandwidth and bus bandwidth."""
