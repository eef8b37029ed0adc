import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vidlatent.errors import InputError
from vidlatent.io.geometry import Orientation, Resize


def display_matrix_by_hand(frame: torch.Tensor, a: int, b: int, c: int, d: int) -> torch.Tensor:
    """Move every pixel from (x, y) to (a x + c y, b x + d y), then shift all into view."""
    H, W = frame.shape[:2]
    places = {(a * x + c * y, b * x + d * y): frame[y, x] for y in range(H) for x in range(W)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    wide, high = max(x for x, _ in places) - left + 1, max(y for _, y in places) - top + 1
    return torch.stack([torch.stack([places[(x + left, y + top)] for x in range(wide)]) for y in range(high)])


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
        (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
    ],
)  # fmt: skip
def test_all_eight_display_matrices(matrix: tuple[int, int, int, int]) -> None:
    frame = torch.randint(0, 256, (3, 5, 3), dtype=torch.uint8)
    orientation = Orientation.of_matrix(*matrix)
    turned = orientation.apply(frame)
    assert torch.equal(turned, display_matrix_by_hand(frame, *matrix))
    assert orientation.size(3, 5) == tuple(turned.shape[:2])


@given(st.floats(-40, 40), st.sampled_from([0, 90, 180, 270]))
def test_skewed_angles_go_to_the_nearest_quarter(off: float, quarter: int) -> None:
    angle = math.radians(quarter + off)
    a, b = math.cos(angle), math.sin(angle)
    assert Orientation.of_matrix(a, b, -b, a).rotation == -quarter % 360


def test_singular_matrix_turns_nothing() -> None:
    assert Orientation.of_matrix(0, 0, 0, 0) == Orientation()


sides = st.integers(1, 60)


@given(height=sides, width=sides, H=sides, W=sides)
def test_crop_gives_the_size_asked_for(height: int, width: int, H: int, W: int) -> None:
    frame = torch.zeros(height, width, 3, dtype=torch.uint8)
    assert Resize((H, W)).apply(frame).shape == (H, W, 3)
    assert Resize((H, W), fit="stretch").apply(frame).shape == (H, W, 3)


@given(height=sides, width=sides, side=sides)
def test_shorter_side(height: int, width: int, side: int) -> None:
    resize = Resize(side)
    H, W = resize.output_size(height, width)
    assert min(H, W) == side
    assert abs(W / H - width / height) <= 1 / H * (width / height + 1)
    assert resize.apply(torch.zeros(height, width, 3, dtype=torch.uint8)).shape == (H, W, 3)


def test_crop_is_centred() -> None:
    frame = torch.zeros(8, 24, 3, dtype=torch.uint8)
    frame[:, 8:16] = 200
    assert (Resize((8, 8)).apply(frame) == 200).all()


def test_kernel_is_pillows_bicubic() -> None:
    frame = torch.randint(0, 256, (48, 96, 3), dtype=torch.uint8)
    pillow = np.array(Image.fromarray(frame.numpy()).resize((40, 20), Image.Resampling.BICUBIC))
    ours = Resize((20, 40)).apply(frame)
    assert (ours.int() - torch.from_numpy(pillow).int()).abs().max() <= 1


@pytest.mark.parametrize("size", [0, -1, (0, 4), (4,), (4, 4, 4), (4.0, 4), True])
def test_other_sizes_are_refused(size: object) -> None:
    with pytest.raises(InputError, match="size="):
        Resize(size)  # type: ignore[arg-type]
