"""Operators in chunks see everything before and nothing behind their chunk, however they are swept."""

import pytest
import torch

from vidlatent.nn import Conv3d
from vidlatent.nn.chunks import ChunkCausal
from vidlatent.streaming import Window
from vidlatent.testing import assert_streams_exactly


def chunked(size: int, channels: int = 2) -> ChunkCausal:
    window = Window.centred(3)
    return ChunkCausal(Conv3d(channels, 3, t=window, h=window, w=window), size).double()


@torch.no_grad()
@pytest.mark.parametrize(("size", "frames"), [(4, 12), (4, 10), (1, 3), (5, 4), (3, 1)])
def test_each_chunk_is_the_operator_on_it_and_the_frame_before(size: int, frames: int) -> None:
    layer, x = chunked(size), torch.randn(1, 2, frames, 4, 3, dtype=torch.double)
    pieces = []
    for start in range(0, frames, size):
        before = min(start, 1)
        pieces.append(layer[1](x[:, :, start - before : start + size])[:, :, before:])
    torch.testing.assert_close(layer(x), torch.cat(pieces, 2), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_later_chunks_are_not_seen() -> None:
    layer, x = chunked(4), torch.randn(1, 2, 12, 4, 3, dtype=torch.double)
    other = torch.cat([x[:, :, :8], torch.randn_like(x[:, :, 8:])], 2)
    assert torch.equal(layer(x)[:, :, :8], layer(other)[:, :, :8])
    assert not torch.equal(layer(x)[:, :, 8], layer(other)[:, :, 8])


@pytest.mark.parametrize("frames", [1, 4, 13, 16])
def test_chunks_stream_exactly(frames: int) -> None:
    assert_streams_exactly(chunked(4), torch.randn(1, 2, frames, 6, 3, dtype=torch.double), partitions=6)
