"""What the slabs that a sample leaves out would hold where a barrier waits for the end of an axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from vidlatent.streaming.sampled import SampledStream
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import Align, Gather, Notes

Index = tuple[int, ...]


@dataclass
class Waiting:
    """Bytes by index of the inner slab that are not seen: of slabs, and of what barriers noted of them."""

    slabs: Counter[Index] = field(default_factory=Counter)
    notes: Counter[Index] = field(default_factory=Counter)


def waiting(stream: SampledStream, axis: int, *, filling: bool) -> Waiting:
    """What waits along `axis`, while slabs come (`filling`) or after the last.

    The slabs left out lie before the last but one of the sample, and wait where this does; while slabs come, in any
    barrier that has some. So does what the other branches around a barrier have made of them.
    """
    sample, found, holds = stream.samples[axis], Waiting(), set[tuple[nn.Module, Index]]()
    if not sample.missing or not sample.holding:
        return found
    states = [(m, index, state) for m, index, state in stream.sweep.states(axis) if m in sample.holding]
    for module, index, state in states:
        if isinstance(state, Gather) and state.slabs:
            held, all_of_it = sum(s.shape[axis] for s in state.slabs), sum(sample.lengths)
            behind = stream.items_behind(module, axis, sample.lengths[-1] + sample.thickness / 2)
            least = behind if state.closed else stream.items_behind(module, axis, all_of_it) - behind
            if held > least or (filling and not state.closed):
                holds.add((module, index))
                found.slabs[index] += sample.missing * _largest(state.slabs)
    held_back = {module for module, _ in holds}
    for module, index, state in states:
        if isinstance(state, Align) and any((barrier, index) in holds for barrier in sample.holding[module]):
            found.slabs[index] += sample.missing * sum(map(_largest, state.queues))
        if isinstance(state, Notes) and state.notes and module in held_back:
            found.notes[index] += sample.missing * max(sum(part.nbytes for part in note) for note in state.notes)
    return found


def _largest(slabs: Sequence[Tensor | Kept]) -> int:
    return max((slab.nbytes for slab in slabs), default=0)
