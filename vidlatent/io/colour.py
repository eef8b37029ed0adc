"""Which matrix and range a file's colours are in: what it says, or what players assume when it does not."""

from typing import Literal

from .clip import Matrix, Range

# ITU-T H.273 MatrixCoefficients, which FFmpeg's AVColorSpace repeats.
_MATRICES: dict[int, Matrix] = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020",
    10: "bt2020",
}
# ITU-T H.273 TransferCharacteristics.
_TRANSFERS: dict[int, Literal["pq", "hlg"]] = {16: "pq", 18: "hlg"}
_FULL = 2  # FFmpeg's AVCOL_RANGE_JPEG
HD_ROWS = 720


def matrix_of(code: int, *, pix_fmt: str, height: int) -> tuple[Matrix, bool]:
    """Return the matrix to use, and whether it is assumed.

    Args:
        code: H.273 MatrixCoefficients of the frame; 2 is unspecified.
        pix_fmt: FFmpeg's name of the pixel format; RGB and gray ones need no matrix.
        height: Stored rows. Untagged video is BT.709 from 720 rows up and BT.601 below, as players have it.
    """
    if is_rgb(pix_fmt):
        return "rgb", False
    if pix_fmt.startswith(("gray", "mono", "ya")):
        return "gray", False
    if code in _MATRICES and code:
        return _MATRICES[code], False
    return ("bt709" if height >= HD_ROWS else "bt601"), True


def range_of(code: int, *, pix_fmt: str) -> Range:
    """Return the range to use: full where tagged, or implied by the pixel format; limited otherwise."""
    full = code == _FULL or pix_fmt.startswith("yuvj") or is_rgb(pix_fmt)
    return "full" if full else "limited"


def transfer_of(code: int) -> Literal["sdr", "pq", "hlg"]:
    """Name the curve where it is one of the two HDR ones."""
    return _TRANSFERS.get(code, "sdr")


def is_rgb(pix_fmt: str) -> bool:
    """Tell whether FFmpeg's pixel format holds RGB in some order."""
    return pix_fmt.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "x2rgb", "x2bgr", "bayer"))
