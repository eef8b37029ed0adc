"""The halo: whatever the window and the cut, the runs hold exactly the windows of the whole axis, none late or wide."""

from collections.abc import Iterator, Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import examples, extend, partitions, windows
from torch import Tensor

from vidlatent.streaming import H, Halo, T, W, Window


def items(length: int, axis: int) -> Tensor:
    """Numbers from 1 along `axis`, with another axis whose entries differ too."""
    shape = [1, 2, 1, 1, 1]
    shape[axis] = length
    numbers = torch.arange(1.0, length + 1).view([1, 1, *[length if a == axis else 1 for a in (2, 3, 4)]])
    return numbers * torch.tensor([1.0, -100.0]).view(1, 2, 1, 1, 1)


def read(run: Tensor, axis: int, window: Window) -> list[list[list[float]]]:
    """Every window that a run of padded inputs holds; the run must hold nothing else."""
    length = run.shape[axis]
    if not length:
        return []
    assert length >= window.span
    assert (length - window.span) % window.stride == 0
    starts = range(0, length - window.span + 1, window.stride)
    return [
        [run.select(axis, i + j * window.dilation).flatten().tolist() for j in range(window.kernel)] for i in starts
    ]


def whole(x: Tensor, axis: int, window: Window) -> list[list[list[float]]]:
    """Every window of the axis, read off the definition."""
    seen, found = extend(x, axis, window), []
    while x.shape[axis] and len(found) * window.stride + window.span <= seen.shape[axis]:
        start = len(found) * window.stride
        places = [start + j * window.dilation for j in range(window.kernel)]
        found.append([seen.select(axis, p).flatten().tolist() for p in places])
    return found


def runs(halo: Halo, slabs: Sequence[Tensor], axis: int, window: Window) -> Iterator[Tensor]:
    """Every run, the end announced with the last slab and then with empty ones until the halo has ended."""
    for number, slab in enumerate(slabs):
        yield halo.feed(slab, axis, window, number == len(slabs) - 1)
    while not halo.ended:
        yield halo.feed(slabs[-1].narrow(axis, 0, 0), axis, window, True)


def cut(x: Tensor, axis: int, sizes: list[int], *, apart: bool) -> list[Tensor]:
    """`x` in slabs, with an empty one behind it if its end comes `apart`."""
    return [*x.split(sizes, axis), *([x.narrow(axis, 0, 0)] if apart else [])]


anything = {
    "window": windows(kernel=4, stride=4, reach=6, crop=4, dilation=3),
    "length": st.integers(0, 12),
    "axis": st.sampled_from([T, H, W]),
    "apart": st.booleans(),
    "data": st.data(),
}


@examples(400)
@given(**anything)
def test_runs_hold_the_windows_of_the_whole_axis(window: Window, length: int, axis: int, apart: bool, data) -> None:
    x, halo, found = items(length, axis), Halo(), []
    slabs = cut(x, axis, data.draw(partitions(length)), apart=apart)
    for run in runs(halo, slabs, axis, window):
        found += read(run, axis, window)
    want = whole(x, axis, window)
    assert found == want
    assert len(found) == window.num_outputs(length)
    assert not halo.feed(slabs[-1].narrow(axis, 0, 0), axis, window, True).shape[axis]  # ended is ended


@examples(200)
@given(**anything)
def test_no_run_at_the_end_is_thicker_than_the_widest_before(
    window: Window, length: int, axis: int, apart: bool, data
) -> None:
    x, halo = items(length, axis), Halo()
    slabs = cut(x, axis, data.draw(partitions(length)), apart=apart)
    sizes = [len(read(run, axis, window)) for run in runs(halo, slabs, axis, window)]
    before, end = sizes[: len(slabs) - 1], sizes[len(slabs) - 1 :]
    if any(before):
        assert max(end) <= max(before)
        assert all(size == max(before) for size in end[:-1])  # and no more runs than that takes
    else:
        assert len(end) == 1


@examples(200)
@given(**anything)
def test_answers_come_as_soon_as_they_are_known(window: Window, length: int, axis: int, apart: bool, data) -> None:
    x, halo, seen, answered = items(length, axis), Halo(), 0, 0
    for slab in x.split(data.draw(partitions(length)), axis):
        answered += len(read(halo.feed(slab, axis, window, False), axis, window))
        seen += slab.shape[axis]
        sure = seen - max(-window.after, 0)  # what cropping may still take away is not
        due = 0
        while seen >= window.needed and due * window.stride - window.before + window.span <= sure:
            due += 1
        assert answered == due


@examples(200)
@given(**anything)
def test_what_is_kept_is_bounded_and_pins_nothing(window: Window, length: int, axis: int, apart: bool, data) -> None:
    x, halo = items(length, axis), Halo()
    for slab in x.split(data.draw(partitions(length)), axis):
        halo.feed(slab, axis, window, False)
        assert halo.carry is not None
        limit = max(window.span - 1 + max(-window.after, 0), window.history) if halo.started else window.needed - 1
        assert halo.carry.shape[axis] <= limit
        assert halo.carry.untyped_storage().nbytes() == halo.carry.nbytes
    for _ in runs(halo, [x.narrow(axis, 0, 0)], axis, window):
        assert halo.carry is None or halo.carry.untyped_storage().nbytes() == halo.carry.nbytes
    assert halo.carry is None


@examples(60)
@given(**anything)
def test_the_slab_may_be_overwritten_after_it_was_fed(
    window: Window, length: int, axis: int, apart: bool, data
) -> None:
    x, halo, found = items(length, axis), Halo(), []
    buffers = [slab.clone() for slab in cut(x, axis, data.draw(partitions(length)), apart=apart)]
    for number, run in enumerate(runs(halo, buffers, axis, window)):
        found += read(run, axis, window)
        for buffer in buffers[number : number + 1]:
            buffer.fill_(float("nan"))
    assert found == whole(x, axis, window)
