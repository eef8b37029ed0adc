"""Blocks of positions packed into channels and back, as HunyuanVideo 1.5 numbers them: the block before the channel.

A convolution changes the grid by packing or unpacking its channels, beside a shortcut without weights, in which
channels are averaged or repeated. The first frame is a block of time alone: going down its channels are taken twice,
going up a half of them is left away, and the shortcuts average half as many and repeat half as often.
"""

from __future__ import annotations

import math

from vidlatent.nn import Chain, DepthToSpace, SpaceToDepth, Trim
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.first_frame import Apart
from vidlatent.nn.resample import Factors
from vidlatent.streaming import T

_SPACE: Factors = (1, 2, 2)
_BOTH: Factors = (2, 2, 2)


def pack(width: int, *, in_time: bool) -> Chain:
    """Blocks of `width` channels as channels in the order (T, H, W, C), the first frame shared with its copy."""
    factors = _BOTH if in_time else _SPACE
    return Chain(SpaceToDepth(factors, before=factors[0] - 1), TakeChannels(_packed(width, math.prod(factors))))


def pack_mean(width: int, out: int, *, in_time: bool) -> Chain:
    """Blocks of `width` channels, packed and averaged run by run to `out` channels."""
    if not in_time:
        return Chain(pack(width, in_time=False), GroupMean(4 * width // out))
    packed = _packed(width, 8)
    alone = [channel for channel in packed[: 4 * width] for _ in range(2)]
    return Chain(
        SpaceToDepth(_BOTH, before=1), Apart(TakeChannels(alone), TakeChannels(packed)), GroupMean(8 * width // out)
    )


def unpack(packed: int, out: int, *, in_time: bool) -> Chain:
    """Channels in the order (T, H, W, C) as blocks of `out` channels.

    Where C is fewer than `out` each is repeated, where it is more the first ones are taken.
    """
    if not in_time:
        return Chain(TakeChannels(_unpacked(packed // 4, out, 4)), DepthToSpace(_SPACE))
    # a first frame has no blocks of time: both frames of its block are made, and the earlier is dropped
    alone = [channel for each in _unpacked(packed // 4, out, 1) for channel in _blocks(each, packed // 4, 4) * 2]
    both = Apart(TakeChannels(alone), TakeChannels(_unpacked(packed // 8, out, 8)))
    return Chain(both, DepthToSpace(_BOTH), Trim(T, before=1))


def repeat_unpack(width: int, out: int) -> Chain:
    """`width` channels, repeated and then unpacked in space to `out`."""
    repeats = 4 * out // width
    places = [channel // repeats for each in range(out) for channel in _blocks(each, out, 4)]
    return Chain(TakeChannels(places), DepthToSpace(_SPACE))


def _packed(width: int, size: int) -> list[int]:
    """Where the channels (block, C) are among (C, block)."""
    return [channel * size + position for position in range(size) for channel in range(width)]


def _unpacked(width: int, out: int, size: int) -> list[int]:
    """Where the channels (out, block) are among (block, C), of `width` C."""
    repeats = max(out // width, 1)
    return [place for channel in range(out) for place in _blocks(channel // repeats, width, size)]


def _blocks(channel: int, width: int, size: int) -> list[int]:
    """Where one channel of `width` is in every position of a block."""
    return [position * width + channel for position in range(size)]
