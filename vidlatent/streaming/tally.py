"""What a sweep of few slabs holds and does, and from that what the sweep of all of them would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from torch import Tensor

from vidlatent.streaming.meter import LiveStorage
from vidlatent.streaming.sample import Sample
from vidlatent.streaming.sampled import Count, SampledStream
from vidlatent.streaming.state import kept_in
from vidlatent.streaming.sweep import EVERY
from vidlatent.streaming.waiting import Index, waiting

_OBJECT_BYTES = 1200
"""What a state takes with its key and what it keeps, beside tensors; a model of many barriers has tens of thousands."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a sweep holds at its peak and between slabs (wherever those lie), and what it does.

    Of the peak, `code_bytes` are there for slabs of any thickness; `step_bytes` is what each step takes above what was
    there before. `calls` counts operators, `made_bytes` what they write, `moved_bytes` what goes off the device and
    back; `at_peak` is the layer that was at work then.
    """

    peak_bytes: int
    state_bytes: int = 0
    calls: float = 0.0
    made_bytes: float = 0.0
    moved_bytes: float = 0.0
    code_bytes: int = 0
    at_peak: object = None
    step_bytes: Mapping[str, int] = field(default_factory=dict)


class Tally:
    """Takes the rounds of a stream whose state is off the device, and adds what the slabs left out would have held."""

    def __init__(self, stream: SampledStream, counter: LiveStorage) -> None:
        self._stream, self._counter = stream, counter
        self._steps = stream.sweep.steps = Count(counter, stream.sweep.shelf)
        self._shelf = shelf = stream.sweep.shelf
        self._outer = stream.samples[stream.outer]
        self._inner = stream.samples[stream.inner] if stream.inner is not None else None
        self._away = self._here = self._state = self._moved = self._last_total = 0
        self._looked: list[tuple[int, ...]] = []
        counter.elsewhere = lambda: shelf.absent_bytes  # not `self`, which would be a cycle
        sweep = stream.sweep
        counter.here = lambda: sweep.at_work

    def take(self, rounds: Iterator[Iterator[Tensor]], beside: int, *, first: bool) -> None:
        """The rounds of one slab, with so many bytes beside it."""
        warm = first and self._outer.warm
        for turn, strips in enumerate(rounds):
            beside_strips = beside + self._take_strips(strips, warm=warm)
            if warm:
                self._stream.forget_thickness(self._stream.outer)
                self._shelf.beside_bytes = 0
                return
            self._take_peaks(beside_strips, filling=turn == 0)
            if self._outer.warm:
                return

    def _take_peaks(self, beside_strips: int, *, filling: bool) -> None:
        """What is held now; to look at thousands of states takes long, and is left out where less was needed before."""
        counter, shelf = self._counter, self._shelf
        needed = (counter.peak_bytes, counter.peak_everywhere_bytes, shelf.absent_bytes, beside_strips)
        if filling or not any(all(n <= m for n, m in zip(needed, more, strict=True)) for more in self._looked):
            held = self._held(filling=filling)
            away = counter.peak_bytes + held.noted + shelf.beside_bytes
            self._away = max(self._away, away + beside_strips)
            self._here = max(self._here, counter.peak_everywhere_bytes + held.total - held.seen + beside_strips)
            self._state = max(self._state, held.total)
            self._last_total = held.total
            self._looked += [] if filling else [needed]
        self._moved += 2 * self._last_total

    def _take_strips(self, strips: Iterator[Tensor], *, warm: bool) -> int:
        """Bytes that the inner axis would have held more."""
        counter, beside, sample, along = self._counter, self._shelf.beside_bytes, self._inner, self._stream.inner
        warms, missed, count, begun = sample is not None and sample.warm, 0, 0, -1
        counter.restart()
        counter.pauses = warm or warms
        for strip in strips:
            del strip  # or it would stay while the next is made
            count += 1
            before, begun = begun, self._steps.begun
            if along is None or sample is None or begun == before:  # nothing was done
                continue
            if warms and count == 1:
                self._stream.forget_thickness(along)
                self._shelf.beside_bytes, counter.pauses = beside, warm
            if sample.missing and sample.holding:
                left_out = waiting(self._stream, along, filling=count <= len(sample.lengths))
                missed = max(missed, left_out.slabs.total() + left_out.notes.total())
        return missed

    def needs(self) -> tuple[Needs, Needs]:
        """Of the whole sweep: with its state off the device, and on it."""
        samples = self._stream.samples.values()
        scale = prod(s.total / (len(s.lengths) - 1) if s.warm else s.length / sum(s.lengths) for s in samples)
        calls, made = scale * self._counter.calls, scale * self._counter.made_bytes
        moved = self._moved * self._outer.total / (len(self._outer.lengths) - self._outer.warm)
        objects, (steps_away, steps_here) = self._objects(), self._steps.by_name(self._stream.module)
        away = Needs(
            self._away + objects, self._state, calls, made, moved, at_peak=self._counter.at_peak, step_bytes=steps_away
        )
        return away, replace(away, peak_bytes=self._here + objects, moved_bytes=0, step_bytes=steps_here)

    def _held(self, *, filling: bool) -> _Held:
        """State between two rounds; notes and some small states are on the device always."""
        left_out = waiting(self._stream, self._stream.outer, filling=filling)
        shelved, present = _Parts(left_out.slabs), _Parts(left_out.notes)
        for _, index, state in self._stream.sweep.states(self._stream.outer):
            for part in kept_in(state):
                (present if isinstance(part, Tensor) else shelved).add(index, part.nbytes)
        total = present.spread(self._inner)
        return _Held(shelved.seen + present.seen, shelved.spread(self._inner) + total, total - present.seen)

    def _objects(self) -> int:
        """Bytes of all states themselves, of which there are most in the end."""
        objects = _Parts(Counter())
        for _, index, _ in self._stream.sweep.states(self._stream.outer):
            objects.add(index, _OBJECT_BYTES)
        return objects.spread(self._inner)


@dataclass(frozen=True)
class _Held:
    """Bytes of state that were seen, those of all slabs, and of what was not seen that which stays on the device."""

    seen: int
    total: int
    noted: int


class _Parts:
    """Bytes by index of the inner slab; some of them of outer slabs that were left out."""

    def __init__(self, left_out: Counter[Index]) -> None:
        self.seen = 0
        self._bytes = left_out

    def add(self, index: Index, nbytes: int) -> None:
        """So much was seen of an inner slab."""
        self.seen += nbytes
        self._bytes[index] += nbytes

    def spread(self, inner: Sample | None) -> int:
        """Bytes when none is left out along the inner axis."""
        if inner is None:
            return self._bytes.total()
        shared = self._bytes[EVERY]
        seen = self._bytes.total() - shared
        if inner.holding:  # behind a barrier an index says nothing
            return shared + seen * inner.length // sum(inner.lengths)
        # the first hold more: until layers are at work, or because several are in one
        first = 1 if inner.warm else max(0, min(2, len(inner.lengths) - 2))
        usual = max((n for index, n in self._bytes.items() if index >= (first,)), default=0)
        return shared + (inner.total * usual if inner.warm else seen + inner.missing * usual)
