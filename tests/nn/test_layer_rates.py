"""Layers that change rates, treat the first frame apart, or mix branches: against their definitions, and swept."""

import pytest
import torch
import torch.nn.functional as F

from vidlatent.nn import Chain, Conv3d
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.clip_attention import ClipLinearAttention
from vidlatent.nn.first_frame import Apart
from vidlatent.nn.geglu import GatedGELU, SoftThreshold
from vidlatent.nn.linear_attention import LinearAttention
from vidlatent.nn.mix import Mix
from vidlatent.nn.pad_channels import PadChannels
from vidlatent.nn.rates import FrameMean, Interpolate, RepeatFrames
from vidlatent.streaming import H, T, W, Window
from vidlatent.testing import assert_streams_exactly


def clip(channels: int = 6, frames: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, frames, 6, 4, dtype=torch.double, generator=generator)


@pytest.mark.parametrize(("axis", "factors"), [(T, (2, 1, 1)), (H, (1, 2, 1)), (W, (1, 1, 2))])
def test_interpolation_is_torchs(axis: int, factors: tuple[int, int, int]) -> None:
    x = clip()
    torch.testing.assert_close(Interpolate(axis)(x), F.interpolate(x, scale_factor=factors, mode="trilinear"))
    assert_streams_exactly(Interpolate(axis), x, partitions=6)


def test_means_are_those_of_pooling() -> None:
    x = clip()
    want = F.avg_pool3d(F.pad(x, (0, 0, 0, 0, 2, 0), mode="replicate"), (3, 1, 1), (2, 1, 1))
    module = FrameMean(Window(3, 2, 2, 0, "replicate"))
    torch.testing.assert_close(module(x), want)
    assert_streams_exactly(module, x, partitions=6)


@pytest.mark.parametrize(("start", "stop", "times"), [(0, 2, 2), (2, 5, 0), (3, 40, 3), (0, 0, 0)])
def test_frames_are_repeated_where_they_are_in_the_clip(start: int, stop: int, times: int) -> None:
    x = clip()
    order = [index for index in range(7) for _ in range(times if start <= index < stop else 1)]
    module = RepeatFrames(start, stop, times=times)
    assert torch.equal(module(x), x[:, :, order])
    assert_streams_exactly(module, x, partitions=6)


def test_the_first_frame_is_treated_apart() -> None:
    module, x = Apart(TakeChannels([0, 0]), TakeChannels([1, 2])), clip()
    want = torch.cat([x[:, [0, 0], :1], x[:, [1, 2], 1:]], 2)
    assert torch.equal(module(x), want)
    assert torch.equal(module(x[:, :, :1]), want[:, :, :1])
    assert_streams_exactly(
        Chain(module, Conv3d(2, 2, t=Window.centred(3), h=Window.centred(3)).double()), x, partitions=6
    )


def test_branches_are_mixed_in_a_learned_proportion() -> None:
    edges = Window.centred(3)
    module, x = Mix(Chain(), Conv3d(6, 6, t=edges, h=edges)).double(), clip()
    share = torch.tensor(2.0, dtype=torch.double).sigmoid()
    torch.testing.assert_close(module(x), share * x + (1 - share) * module.second(x))
    assert_streams_exactly(module, x, partitions=6)


def test_attention_over_a_clip_is_that_of_one_tall_frame() -> None:
    x = clip(channels=12)
    tall = x.reshape(1, 12, 1, -1, 4)
    want = LinearAttention(2)(tall).reshape(1, 4, 7, 6, 4)
    torch.testing.assert_close(ClipLinearAttention(2)(x), want)
    assert_streams_exactly(ClipLinearAttention(2), x, partitions=6)


def test_pointwise_layers_are_their_formulas() -> None:
    x = clip()
    assert torch.equal(PadChannels(8)(x), torch.cat([x, torch.zeros_like(x[:, :2])], 1))
    torch.testing.assert_close(GatedGELU()(x), x[:, :3] * F.gelu(x[:, 3:]))
    torch.testing.assert_close(SoftThreshold().double()(x), F.softshrink(x, 0.01))
