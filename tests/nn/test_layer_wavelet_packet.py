"""Wavelet packets: signs as defined, invertible, swept exactly."""

import pytest
import torch

from vidlatent.nn.wavelet_packet import HaarPacket, InverseHaarPacket, packet_matrix
from vidlatent.streaming import H, W
from vidlatent.testing import assert_streams_exactly


def test_the_matrix_is_a_symmetric_choice_of_signs() -> None:
    matrix = packet_matrix(2)
    assert matrix.abs().eq(1).all()
    torch.testing.assert_close(matrix @ matrix.T, 64 * torch.eye(64, dtype=torch.double))


@pytest.mark.parametrize("band", range(64))
def test_each_band_is_a_product_of_pairs(band: int) -> None:
    """Bits of a band: coarse T, H, W, then fine T, H, W; a bit of 1 subtracts the second half of a pair."""
    bits = [band >> (5 - i) & 1 for i in range(6)]
    want = torch.empty(4, 4, 4, dtype=torch.double)
    for t in range(4):
        for h in range(4):
            for w in range(4):
                halves = [t >> 1, h >> 1, w >> 1, t & 1, h & 1, w & 1]
                want[t, h, w] = (-1) ** sum(bit * half for bit, half in zip(bits, halves, strict=True))
    assert torch.equal(packet_matrix(2)[band].view(4, 4, 4), want)


@pytest.mark.parametrize("levels", [1, 2])
def test_packets_are_inverted_and_start_with_the_mean(levels: int) -> None:
    size = 2**levels
    x = torch.randn(2, 3, 2 * size, 3 * size, size, dtype=torch.double)
    bands = HaarPacket(levels)(x)
    torch.testing.assert_close(bands[:, :3], torch.nn.functional.avg_pool3d(x, size))
    torch.testing.assert_close(InverseHaarPacket(levels)(bands), x)


def test_packets_of_frames_split_columns_first() -> None:
    x = torch.randn(1, 1, 1, 4, 4, dtype=torch.double)
    bands = HaarPacket(2, axes=(W, H))(x)[0, :, 0, 0, 0]
    left, right = x[0, 0, 0].chunk(2, 1)
    above, below = x[0, 0, 0].chunk(2, 0)
    torch.testing.assert_close(bands[0], x.mean())
    torch.testing.assert_close(bands[4], (above.mean() - below.mean()) / 2)
    torch.testing.assert_close(bands[8], (left.mean() - right.mean()) / 2)
    torch.testing.assert_close(InverseHaarPacket(2, axes=(W, H))(HaarPacket(2, axes=(W, H))(x)), x)


def test_packets_stream_exactly() -> None:
    x = torch.randn(1, 3, 13, 12, 4, dtype=torch.double)
    assert_streams_exactly(HaarPacket(2, before=3), x, partitions=5)
    assert_streams_exactly(InverseHaarPacket(1), torch.randn(1, 16, 3, 3, 2, dtype=torch.double), partitions=5)
