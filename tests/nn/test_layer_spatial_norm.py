"""The spatially conditioned norm is its definition, and sweeps."""

import pytest
import torch
import torch.nn.functional as F
from sweep_helpers import randomise

from vidlatent.nn.spatial_norm import SpatialNorm
from vidlatent.testing import assert_streams_exactly
from vidlatent.testing.streams import ALL_AXES


@torch.no_grad()
def test_it_is_its_definition() -> None:
    norm = randomise(SpatialNorm(2, 6, 3), seed=0)
    x = torch.randn(2, 9, 3, 4, 5, dtype=torch.double) + 1
    f, z = x.split([6, 3], 1)
    scale, shift = (F.conv3d(z, conv.weight, conv.bias) for conv in (norm.y, norm.b))
    want = F.silu(F.group_norm(f, 2, norm.weight, norm.bias, 1e-6) * scale + shift)
    torch.testing.assert_close(norm(x), torch.cat([want, z], 1))


@pytest.mark.parametrize("axes", ALL_AXES)
def test_it_streams_exactly(axes: tuple[int, ...]) -> None:
    norm = randomise(SpatialNorm(2, 6, 3), seed=0)
    assert_streams_exactly(norm, torch.randn(1, 9, 7, 6, 3, dtype=torch.double), [axes], partitions=10)
