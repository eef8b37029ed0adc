"""Windows and padding against their definition, item by item, and against numpy and torch where those are defined."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import examples, extend, windows

from vidlatent.streaming import H, T, W, Window
from vidlatent.streaming.window import pad, pad_whole

MODES = ["zeros", "replicate", "reflect"]
NUMPY = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}


@examples(200)
@given(windows(kernel=5, stride=4, reach=6, crop=5, dilation=3), st.integers(0, 14))
def test_num_outputs_counts_the_windows_that_fit(window: Window, length: int) -> None:
    padded = length + window.before + window.after
    starts = range(0, max(padded, 0), window.stride)
    fitting = [i for i in starts if i + (window.kernel - 1) * window.dilation <= padded - 1]
    assert window.num_outputs(length) == (len(fitting) if length else 0)


@examples(60)
@given(windows(reach=3, crop=0), st.integers(2, 10))
def test_num_outputs_is_torchs(window: Window, length: int) -> None:
    x = torch.zeros(1, 1, length + window.before + window.after)
    if x.shape[-1] >= window.span:
        answer = F.conv1d(x, torch.zeros(1, 1, window.kernel), stride=window.stride, dilation=window.dilation)
        assert window.num_outputs(length) == answer.shape[-1]


@examples(150)
@given(
    st.sampled_from(MODES),
    st.integers(1, 8),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([T, H, W]),
)
def test_pad_is_its_definition_however_short_the_axis(mode: str, length: int, before: int, after: int, axis: int):
    shape = [2, 1, 3, 3, 3]
    shape[axis] = length
    x = torch.arange(1.0, 1 + np.prod(shape)).view(shape)
    want = extend(x, axis, Window(before=before, after=after, mode=mode))
    assert torch.equal(pad(x, axis, before, after, mode), want)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 2), (3, 4), (4, 1)])
def test_pad_is_numpys_and_torchs_where_they_are_defined(mode: str, before: int, after: int) -> None:
    x = torch.randn(2, 3, 5, 2, 2)
    widths = [(0, 0), (0, 0), (before, after), (0, 0), (0, 0)]
    got = pad(x, T, before, after, mode)
    assert np.array_equal(got.numpy(), np.pad(x.numpy(), widths, mode=NUMPY[mode]))
    torch_mode = "constant" if mode == "zeros" else mode
    assert torch.equal(got, F.pad(x, [0, 0, 0, 0, before, after], mode=torch_mode))


def test_nothing_to_pad_costs_nothing() -> None:
    x = torch.randn(1, 1, 3, 2, 2)
    assert pad(x, T, 0, 0, "reflect") is x
    assert pad(x[:, :, :0], T, 2, 2, "replicate").shape[T] == 0


@examples(60)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 12))
def test_causal_sees_no_future_and_centred_keeps_the_length(kernel: int, stride: int, dilation: int, length: int):
    causal = Window.causal(kernel, stride, "replicate", dilation)
    reads = [
        i * stride + j * dilation - causal.before for i in range(causal.num_outputs(length)) for j in range(kernel)
    ]
    assert max(reads) <= length - 1
    assert causal.num_outputs(length) == -(-length // stride)
    centred = Window.centred(2 * kernel - 1, 1, "zeros", dilation)
    assert centred.num_outputs(length) == length
    assert centred.before == centred.after == (kernel - 1) * dilation


@pytest.mark.parametrize("bad", [{"kernel": 0}, {"stride": 0}, {"dilation": -1}, {"mode": "circular"}])
def test_a_window_that_means_nothing_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        Window(**bad)


def test_only_what_needs_no_neighbour_is_pointwise() -> None:
    assert Window().is_pointwise
    assert Window(mode="reflect", dilation=3).is_pointwise
    others = [Window(2), Window(stride=2), Window(before=1), Window(after=-1), Window(before=-1, after=1)]
    assert not any(window.is_pointwise for window in others)


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from(MODES), st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=3),
    st.permutations([T, H, W]),
    st.integers(0, 3),
    st.booleans(),
)
@torch.no_grad()
def test_axes_padded_together_are_padded_one_after_another(sides, axes, count: int, channels_last: bool) -> None:
    x = torch.arange(2 * 3 * 4 * 3 * 5, dtype=torch.float).view(2, 3, 4, 3, 5)
    x = x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x
    chosen = dict(zip(axes[:count], (Window(1, 1, before, after, mode) for mode, before, after in sides), strict=False))
    want = x
    for axis, window in chosen.items():
        want = pad(want, axis, window.before, window.after, window.mode)
    got = pad_whole(x, chosen)
    assert torch.equal(got, want)
    assert got.is_contiguous(memory_format=torch.channels_last_3d) or not channels_last or count < 2
