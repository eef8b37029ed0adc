import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidlatent.errors import InputError
from vidlatent.io import to_float, to_uint8


def test_every_level_survives_the_round_trip() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(2, 16, 16, 3)
    video = to_float(frames)
    assert video.shape == (1, 3, 2, 16, 16)
    assert video.min() == -1
    assert video.max() == 1
    assert torch.equal(to_uint8(video), frames)


def test_definition() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    expected = frames.double() / 127.5 - 1
    assert torch.allclose(to_float(frames)[0].permute(1, 2, 3, 0).double(), expected, atol=1e-7, rtol=0)


def test_axes_are_not_mixed_up() -> None:
    frames = torch.randint(0, 256, (4, 5, 6, 3), dtype=torch.uint8)
    video = to_float(frames)
    assert abs(video[0, 2, 1, 4, 3] - (int(frames[1, 4, 3, 2]) / 127.5 - 1)) < 1e-6


@given(st.floats(-3, 3, width=32))
def test_rounds_to_the_nearest_level_and_clamps(value: float) -> None:
    got = to_uint8(torch.full((1, 3, 1, 1, 1), value)).flatten()[0].item()
    exact = (value + 1) * 127.5
    assert abs(got - min(255.0, max(0.0, exact))) <= 0.5 + 1e-4


def test_half_precision_holds_all_levels() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert torch.equal(to_uint8(to_float(frames, dtype=torch.float16)), frames)


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (2, 3, 2, 4, 4), (1, 4, 2, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\(1, 3, T, H, W\)"):
        to_uint8(torch.zeros(shape))


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        to_uint8(torch.full((1, 3, 1, 2, 2), float("nan")))


def test_float_frames_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        to_float(torch.zeros(1, 4, 4, 3))
