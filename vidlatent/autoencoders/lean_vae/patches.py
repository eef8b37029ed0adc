"""LeanVAE's tokens: sums and differences of 2x2x2 blocks, patched by 2x4x4 and projected.

The first frame stands alone: upstream transforms it in space only and projects it by other weights. Here it is a block
of four frames like the others, all copies of it, whose differences in time vanish and whose sums are twice its own; so
only the projection differs. Bands come in the order T, H, W; upstream has an image's differences of rows before those
of columns.
"""

from __future__ import annotations

from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Haar, InverseHaar, Scale, SpaceToDepth, Trim
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.first_frame import Apart
from vidlatent.nn.pad_channels import PadChannels
from vidlatent.nn.resample import Factors
from vidlatent.nn.wavelet import haar_matrix
from vidlatent.streaming import T

_BLOCK: Factors = (2, 2, 2)
_PATCH: Factors = (2, 4, 4)
_COLOURS, _CELLS, _PLACES = 3, 16, 32
_LOW, _HIGH = range(_COLOURS), range(_COLOURS, 8 * _COLOURS)
_IMAGE_HIGH = (*range(6, 9), *range(3, 6), *range(9, 12))
"""Channels of the differences along H, W and both, in upstream's order for an image."""
STRIDE = (4, 8, 8)


def patch(low: int, high: int) -> Chain:
    """Video to tokens: `low` channels of the sums, then `high` channels of the differences."""
    bands, patches = Haar(_BLOCK, before=1), SpaceToDepth(_PATCH, before=1)
    bands.matrix = haar_matrix(_BLOCK).sign()
    return Chain(bands, patches, Concat(_project(_LOW, _LOW, low), _project(_IMAGE_HIGH, _HIGH, high)))


def _project(image: tuple[int, ...] | range, video: range, width: int) -> Apart:
    first = [channel * _PLACES + cell for channel in image for cell in range(_CELLS)]
    rest = [channel * _PLACES + place for channel in video for place in range(_PLACES)]
    half = Scale([0.5] * len(first), [0.0] * len(first))
    return Apart(
        Chain(TakeChannels(first), half, Conv3d(len(first), width)), Chain(TakeChannels(rest), Conv3d(len(rest), width))
    )


def unpatch(low: int, high: int) -> Chain:
    """Tokens to video: the inverse of `patch`, with weights of its own."""
    bands = InverseHaar(_BLOCK)
    bands.matrix = haar_matrix(_BLOCK).sign() / 8
    sums = Chain(TakeChannels(range(low)), _expand(low, _LOW, _LOW))
    differences = Chain(TakeChannels(range(low, low + high)), _expand(high, _IMAGE_HIGH, _HIGH))
    return Chain(Concat(sums, differences), DepthToSpace(_PATCH), bands, Trim(T, before=STRIDE[0] - 1))


def _expand(width: int, image: tuple[int, ...] | range, video: range) -> Apart:
    count = len(image) * _CELLS
    sources = [image.index(channel) for channel in video if channel in image]
    places = [source * _CELLS + place % _CELLS for source in sources for place in range(_PLACES)]
    first = Chain(Conv3d(width, count), Scale([2.0] * count, [0.0] * count), TakeChannels(places))
    return Apart(
        Chain(first, PadChannels(len(video) * _PLACES)),
        Chain(Conv3d(width, len(video) * _PLACES)),
    )
