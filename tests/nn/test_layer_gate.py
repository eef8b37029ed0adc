"""Gates: one learned number, or half of the channels."""

import torch

from vidlatent.nn.gate import Gate, GatedSiLU
from vidlatent.testing import assert_streams_exactly


@torch.no_grad()
def test_a_gate_multiplies_by_a_number_between_0_and_1() -> None:
    gate, x = Gate(), torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(gate(x), x / 2)
    gate.mix_factor.fill_(20.0)
    torch.testing.assert_close(gate(x), x)
    gate.mix_factor.fill_(-1.5)
    torch.testing.assert_close(gate(x), x * torch.sigmoid(torch.tensor(-1.5)))


def test_a_gate_streams_and_learns() -> None:
    gate = Gate().double()
    x = torch.randn(1, 2, 4, 5, 3, dtype=torch.double)
    assert_streams_exactly(gate, x, partitions=2)
    gate(x).sum().backward()
    assert gate.mix_factor.grad


def test_half_of_the_channels_gates_the_other() -> None:
    x = torch.randn(1, 4, 3, 3, 2, dtype=torch.double)
    torch.testing.assert_close(GatedSiLU()(x), x[:, :2] * torch.nn.functional.silu(x[:, 2:]))
    assert_streams_exactly(GatedSiLU(), x, partitions=2)
