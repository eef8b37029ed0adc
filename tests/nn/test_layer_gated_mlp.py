"""The gated MLP against its formula, whole and in blocks."""

import torch
import torch.nn.functional as F

from vidlatent.nn import gated_mlp
from vidlatent.nn.gated_mlp import GatedMLP
from vidlatent.streaming.meter import LiveStorage, empty_clip, to_meta
from vidlatent.testing import assert_streams_exactly


def by_definition(module: GatedMLP, x: torch.Tensor) -> torch.Tensor:
    rows = x.permute(0, 2, 3, 4, 1)
    values, gates = (rows @ module.widen.weight.T).split(module.narrow.in_features, -1)
    return ((values * F.silu(gates)) @ module.narrow.weight.T).permute(0, 4, 1, 2, 3)


def test_blocks_make_no_difference(monkeypatch) -> None:
    module, x = GatedMLP(6, 16).double(), torch.randn(2, 6, 3, 5, 4, dtype=torch.double)
    torch.testing.assert_close(module(x), by_definition(module, x))
    monkeypatch.setattr(gated_mlp, "_POSITIONS", 7)
    with torch.no_grad():
        torch.testing.assert_close(module(x), by_definition(module, x))
    assert_streams_exactly(module, x, partitions=2)


def test_what_is_between_is_held_for_a_block_only(monkeypatch) -> None:
    monkeypatch.setattr(gated_mlp, "_POSITIONS", 8)
    module, shape = to_meta(GatedMLP(4, 64).requires_grad_(False)), (1, 4, 4, 8, 8)
    with LiveStorage() as counter, torch.no_grad():
        module(empty_clip(shape, torch.float32))
    positions, wide = 4 * 8 * 8, 4 * 8 * (2 * 64 + 64 + 64 + 4)
    assert counter.peak_bytes <= 4 * positions * (4 + 4) + wide
