"""WF-VAE's Haar wavelets: in space and time with their factor rounded to four digits, in space with the bands swapped.

Channels come in the order (band, C). Bands of a block are numbered by the axes along which they are differences, T
first and W last; in space alone, differences of rows come before those of columns.
"""

from __future__ import annotations

from torch import Tensor

from vidlatent.nn import Haar, InverseHaar
from vidlatent.nn.resample import Factors
from vidlatent.nn.wavelet import haar_matrix

_BOTH: Factors = (2, 2, 2)
_SPACE: Factors = (1, 2, 2)
FACTOR = 0.3536
"""What upstream has in place of 1 / sqrt 8."""


def haar(*, in_time: bool) -> Haar:
    """Sub-bands of 2x2 blocks of each frame, or of 2x2x2 blocks, the first frame with a copy of itself."""
    wavelet = Haar(_BOTH, before=1) if in_time else Haar(_SPACE)
    wavelet.matrix = bands(in_time=in_time)
    return wavelet


def inverse_haar(*, in_time: bool) -> InverseHaar:
    """The inverse but for the rounding; with time, the first frame's copy is left in."""
    wavelet = InverseHaar(_BOTH if in_time else _SPACE)
    wavelet.matrix = bands(in_time=in_time)
    return wavelet


def bands(*, in_time: bool) -> Tensor:
    """The transform as a matrix: rows are bands, columns the positions of a block."""
    return haar_matrix(_BOTH).sign() * FACTOR if in_time else haar_matrix(_SPACE)[[0, 2, 1, 3]]
