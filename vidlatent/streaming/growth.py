"""What memory grows by under each step of a sweep, learned from what it grew by before."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

_TIMES = 8
"""A step of which nothing is known is expected to take so many times its input, if it is a layer's."""
_TIMES_GIVEN = 1
"""The same where an answer is put together or given out."""
_AND_MORE = 1.5
"""How much more than others of its kind a step that was not seen yet may take."""
_MUCH = 1 << 20
"""Smaller inputs say nothing of other steps."""


class _Seen(NamedTuple):
    """Bytes of growth, and of the input then; `exact` unless freed memory may have served as well: then at most."""

    nbytes: int
    of_input: int
    exact: bool


@dataclass
class Growth:
    """Of all steps seen, and of each kind of them how many times its input it took at most."""

    _seen: dict[Hashable, _Seen] = field(default_factory=dict)
    _times: dict[Hashable, float] = field(default_factory=dict)

    def knows(self, step: Hashable) -> bool:
        """Whether this very step was seen."""
        return step in self._seen

    def expected(self, step: Hashable, nbytes: int) -> int:
        """Bytes that memory may grow by under this step: as seen, or as others of its kind if it works on more."""
        seen, most = self._seen.get(step), _TIMES_GIVEN if isinstance(step, str) else _TIMES
        times = self._times.get(_kind(step), most)
        if seen is None:
            return int(min(most, _AND_MORE * times) * nbytes)
        if nbytes <= seen.of_input:
            return seen.nbytes
        more = seen.nbytes + _TIMES * (nbytes - seen.of_input)
        return int(min(more, max(times, seen.nbytes / seen.of_input) * nbytes)) if seen.of_input else more

    def learn(self, step: Hashable, nbytes: int, grew: int, gaps: int) -> None:
        """It worked on so many bytes, memory grew, and freed memory lay there that may have served as well (0: none).

        The most that was seen counts; where freed memory may have served, the least of what it may have been at most.
        """
        grew, expected, known = max(grew, 0), self.expected(step, nbytes), self._seen.get(step)
        at_most = max(grew, min(grew + gaps, _TIMES * nbytes))
        if known is None or (not gaps and not known.exact) or (not known.exact and at_most < expected):
            self._seen[step] = _Seen(at_most, nbytes, exact=not gaps)
        elif grew > expected or (not gaps and nbytes > known.of_input):
            self._seen[step] = _Seen(max(grew, known.nbytes), nbytes, known.exact)
        if nbytes >= _MUCH and not gaps:
            self._times[_kind(step)] = max(self._times.get(_kind(step), 0), grew / nbytes)

    def forget_steps(self) -> None:
        """Keep only what is known of kinds."""
        self._seen.clear()


def _kind(step: Hashable) -> Hashable:
    """What steps alike have in common: the class of module, and what is done with it."""
    return (type(step[0]), *step[1:]) if isinstance(step, tuple) else step if isinstance(step, str) else type(step)
