"""The scheduling matrix, and the queue that walks it."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidlatent.diffusion import Schedule, autoregressive, fifo, full_sequence, pyramid, rolling
from vidlatent.diffusion.queue import Queue
from vidlatent.errors import InputError


def test_matrices_by_hand() -> None:
    assert full_sequence(2).matrix(3).tolist() == [[2, 2, 2], [1, 1, 1], [0, 0, 0]]
    assert autoregressive(2).matrix(2).tolist() == [[2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]
    assert fifo(3).matrix(3).tolist() == [[3, 3, 3], [2, 3, 3], [1, 2, 3], [0, 1, 2], [0, 0, 1], [0, 0, 0]]
    assert rolling(2, block=2).matrix(4).tolist() == [[2, 2, 2, 2], [1, 1, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert pyramid(3, lag=1.5).matrix(3)[2].tolist() == [1, 2, 3]


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 12), st.data())
def test_every_frame_passes_every_level_once(steps: int, block: int, frames: int, data: st.DataObject) -> None:
    lag = data.draw(st.integers(1, 2 * steps)) / 2
    matrix = Schedule(steps, block=block, lag=lag).matrix(frames)
    drops = matrix[:-1] - matrix[1:]
    assert set(drops.unique().tolist()) <= {0, 1}
    assert (matrix[0] == steps).all()
    assert not matrix[-1].any()
    assert (matrix.diff(dim=1) >= 0).all()  # no frame is ahead of an earlier one
    moving = drops.bool()
    assert all(row.any() for row in moving)  # no pass is idle


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 12))
def test_fifo_is_a_pyramid_of_one_step(steps: int, block: int, frames: int) -> None:
    assert torch.equal(fifo(steps).matrix(frames), pyramid(steps, lag=1).matrix(frames))
    assert torch.equal(rolling(steps, block=block).matrix(frames), pyramid(steps, lag=1, block=block).matrix(frames))
    assert torch.equal(autoregressive(steps).matrix(frames), pyramid(steps, lag=steps).matrix(frames))


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 10), st.data())
def test_the_queue_walks_the_matrix(steps: int, block: int, frames: int, data: st.DataObject) -> None:
    """The frames in flight are those whose level falls, at the matrix's levels, and they leave at its zeros."""
    schedule = Schedule(steps, block=block, lag=data.draw(st.integers(1, 2 * steps)) / 2)
    matrix, queue = schedule.matrix(frames), Queue(schedule, frames, torch.zeros(1, 1, 0, 1, 1))
    assert schedule.room >= 1
    for row, after in pairwise(matrix):
        queue.admit(lambda start, stop: torch.zeros(1, 1, stop - start, 1, 1))
        flying = (row > after).nonzero()[:, 0].tolist()
        assert flying == list(range(queue.front, queue.stop))
        assert len(flying) <= schedule.room
        assert torch.equal(queue.levels(), schedule.grid[row[flying]])
        assert torch.equal(queue.levels(after=1), schedule.grid[after[flying]])
        left = queue.advance(queue.z, queue.past)
        assert left.shape[2] == int((after[flying] == 0).sum())
    assert queue.done


def test_levels_may_be_given() -> None:
    assert Schedule(2, levels=(0, 0.7, 1)).grid.tolist() == [0, 0.7, 1]
    assert torch.allclose(fifo(2, shift=3.0).grid, torch.tensor([0, 0.75, 1], dtype=torch.float64))


def test_refusals() -> None:
    with pytest.raises(InputError, match="lag=5: allowed is above 0 and up to steps=4"):
        pyramid(4, lag=5)
    with pytest.raises(InputError, match="steps=0"):
        full_sequence(0)
    with pytest.raises(InputError, match="3 numbers that climb from 0 to 1"):
        Schedule(2, levels=(0, 0.5, 0.4))
    with pytest.raises(InputError, match="give num_frames"):
        Queue(full_sequence(2), None, torch.zeros(1, 1, 0, 1, 1))
