"""Between decoders and the model: bounded, never stuck, batches of one shape, long clips as streams."""

from fractions import Fraction
from threading import Thread

import pytest
import torch
from torch import Tensor

from vidlatent.encode.pipeline.buffer import Batch, Buffer, Clip, ClipLost
from vidlatent.encode.pipeline.cutting import Begin
from vidlatent.encode.policy import Shape

FRAME = 4 * 4 * 3


def clip(key: str = "k", size: tuple[int, int] = (4, 4)) -> Clip:
    return Clip(Begin(key, size, Fraction(25), Shape()), owner=None)


def frames(count: int, value: int = 0) -> Tensor:
    return torch.full((count, 4, 4, 3), value, dtype=torch.uint8)


def buffer(limit_frames: int, batch: int = 4) -> Buffer:
    return Buffer(limit_frames * FRAME, batch_of=lambda shape: batch, on_room=lambda: None)


def put(target: Buffer, item: Clip, count: int, *, end: bool = True) -> Clip:
    if not item.times:
        target.begin(item)
    target.add(item, frames(count), tuple(Fraction(i, 25) for i in range(count)))
    if end:
        target.end(item)
    return item


def test_clips_of_one_shape_come_together_in_powers_of_two_oldest_first() -> None:
    full = buffer(100)
    a = [put(full, clip(f"a{i}"), 3) for i in range(3)]
    b = put(full, clip("b"), 2)
    a += [put(full, clip(f"a{i}"), 3) for i in range(3, 6)]
    first, second, third = full.take(), full.take(), full.take()
    assert isinstance(first, Batch) and isinstance(second, Batch) and isinstance(third, Batch)  # noqa: PT018
    assert [first.clips, second.clips, third.clips] == [a[:4], [b], a[4:]]
    full.release([*a, b])
    full.finish()
    assert full.take() is None
    assert full.num_bytes == 0


def test_a_clip_that_grows_long_is_a_stream_and_others_wait_for_room() -> None:
    tight = buffer(8)
    long = put(tight, clip(), 4, end=False)
    assert tight.take() is long
    other = clip("other")
    put(tight, other, 6, end=False)
    assert not tight.accepts(other)
    assert not tight.accepts(long)  # it has 4 waiting, more than its share
    runs = tight.stream(long)
    assert len(next(runs)) == 4
    assert tight.accepts(long)
    Thread(target=lambda: (put(tight, long, 2, end=False), tight.end(long))).start()
    assert [len(run) for run in runs] == [2]
    assert tight.num_bytes == 6 * FRAME


def test_a_full_buffer_of_unfinished_clips_is_not_stuck() -> None:
    full = buffer(9)
    clips = [put(full, clip(str(i)), 3 - i % 2, end=False) for i in range(4)]
    assert full.num_bytes > 9 * FRAME
    assert not full.accepts(clips[1])
    assert full.take() is clips[0]
    assert full.accepts(clips[0]) is False or clips[0].num_bytes <= 9 * FRAME // 4


def test_what_is_lost_is_dropped_and_a_stream_of_it_says_so() -> None:
    some = buffer(8)
    waiting, long = put(some, clip("w"), 1, end=False), put(some, clip("l"), 4, end=False)
    some.end(waiting, lost=True)
    assert some.take() is long
    runs = some.stream(long)
    next(runs)
    some.end(long, lost=True)
    with pytest.raises(ClipLost):
        next(runs)
    some.finish()
    assert some.take() is None
    assert some.num_bytes == 0
