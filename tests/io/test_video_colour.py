"""Decoded colours against the equations of BT.601, BT.709 and BT.2020, and against reference decoders."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from video_helpers import read_all

from vidlatent.io import open_video
from vidlatent.io.colour import matrix_of, range_of

Array = NDArray[np.float64]
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def equations(planes: tuple[Array, Array, Array], *, matrix: str, full: bool, bits: int = 8) -> Array:
    """Y'CbCr to 8-bit R'G'B' as ITU-R BT.601/709/2020 define it, in float64."""
    unit = 2 ** (bits - 8)
    offset, luma, chroma = (0, 2**bits - 1, 2**bits - 1) if full else (16 * unit, 219 * unit, 224 * unit)
    y = (planes[0] - offset) / luma
    cb, cr = ((plane - 128 * unit) / chroma for plane in planes[1:])
    kr, kb = WEIGHTS[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1), 0, 1) * 255


def linear(plane: Array, *, centred: bool) -> Array:
    """Twice the columns: new ones a quarter to each side of the old, or on them and half-way between."""
    before = np.concatenate([plane[:, :1], plane[:, :-1]], 1)
    after = np.concatenate([plane[:, 1:], plane[:, -1:]], 1)
    pair = (before / 4 + plane * 3 / 4, plane * 3 / 4 + after / 4) if centred else (plane, (plane + after) / 2)
    return np.stack(pair, -1).reshape(len(plane), -1)


def upsampled(plane: Array, siting: str) -> Array:
    """4:2:0 chroma to full size: between two rows, and on the left column ("left") or between two ("centre")."""
    return linear(linear(plane, centred=siting == "centre").T, centred=True).T


def write_planes(path: Path, planes: list[NDArray[np.uint8]], *, space: int, colour_range: int) -> None:
    """Store 4:4:4 planes losslessly with these tags (H.273 code points)."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"  # type: ignore[attr-defined]
        stream.codec_context.colorspace, stream.codec_context.color_range = space, colour_range  # type: ignore[attr-defined]
        frame = av.VideoFrame.from_ndarray(np.stack(planes), format="yuv444p")
        frame.colorspace, frame.color_range, frame.pts = space, colour_range, 0
        container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("matrix", "space"), [("bt709", 1), ("bt601", 5), ("bt601", 6), ("bt2020", 9)])
@pytest.mark.parametrize("full", [False, True])
def test_tagged_colours_follow_the_equations(tmp_path: Path, matrix: str, space: int, full: bool) -> None:
    planes = [np.random.default_rng(k).integers(16, 236, (64, 64), dtype=np.uint8) for k in range(3)]
    write_planes(tmp_path / "a.mkv", planes, space=space, colour_range=2 if full else 1)
    y, cb, cr = (plane.astype(np.float64) for plane in planes)
    expected = equations((y, cb, cr), matrix=matrix, full=full)
    frames, _ = read_all(tmp_path / "a.mkv")
    assert np.abs(frames[0].numpy() - expected).max() <= 1.0
    assert np.abs(frames[0].numpy() - expected).mean() <= 0.3
    with open_video(tmp_path / "a.mkv") as source:
        assert (source.spec.matrix, source.spec.range) == (matrix, "full" if full else "limited")
        assert not source.spec.matrix_is_assumed


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_untagged_colours_go_by_height(tmp_path: Path, height: int, matrix: str) -> None:
    levels = (120, 90, 200)
    planes = [np.full((height, 64), level, dtype=np.uint8) for level in levels]
    write_planes(tmp_path / "a.mkv", planes, space=2, colour_range=0)
    y, cb, cr = (plane.astype(np.float64) for plane in planes)
    frames, _ = read_all(tmp_path / "a.mkv")
    assert np.abs(frames[0].numpy() - equations((y, cb, cr), matrix=matrix, full=False)).max() <= 1
    with open_video(tmp_path / "a.mkv") as source:
        assert source.spec.matrix == matrix
        assert source.spec.matrix_is_assumed


def test_decisions_without_a_file() -> None:
    assert matrix_of(2, pix_fmt="yuv420p", height=719) == ("bt601", True)
    assert matrix_of(2, pix_fmt="gray", height=1080) == ("gray", False)
    assert matrix_of(0, pix_fmt="gbrp", height=100) == ("rgb", False)
    assert range_of(0, pix_fmt="yuvj420p") == "full"
    assert range_of(0, pix_fmt="yuv420p10le") == "limited"


def decoded_planes(path: Path, index: int) -> tuple[list[Array], str]:
    with av.open(str(path)) as container:
        frame = next(f for k, f in enumerate(container.decode(video=0)) if k == index)
        depth = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        planes = []
        for plane in frame.planes:
            rows = np.frombuffer(plane, depth).reshape(plane.height, -1)
            planes.append(rows[:, : plane.width].astype(np.float64))
        return planes, frame.format.name


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "matrix", "full", "bits", "siting"),
    [
        ("odd/bt601_full_range.mp4", "bt601", True, 8, "left"),
        ("odd/testsrc2_hdr.mp4", "bt2020", False, 10, "left"),
        ("odd/testsrc2_12bit_hdr.mp4", "bt2020", False, 12, "left"),
        ("odd/av1_video.mkv", "bt709", False, 8, "centre"),
        ("natural/train/cosmos_cat_1568p_60fps.mp4", "bt709", True, 8, "left"),
    ],
)
def test_real_files_follow_the_equations(
    data_dir: Path, name: str, matrix: str, full: bool, bits: int, siting: str
) -> None:
    """4:2:0 with chroma interpolated: half a level on average, and all but edges within two."""
    (y, cb, cr), _ = decoded_planes(data_dir / name, 5)
    expected = equations((y, upsampled(cb, siting), upsampled(cr, siting)), matrix=matrix, full=full, bits=bits)
    frames, _ = read_all(data_dir / name, stop=1, colour="exact")
    error = np.abs(frames[5].numpy() - expected)
    assert error.mean() <= 0.5
    assert np.percentile(error, 99) <= 2


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "index", "reference"),
    [
        ("multistream_nasa.mp4", 0, "torchcodec_nasa_13013.mp4.stream3.frame000000.pt"),
        ("multistream_nasa.mp4", 35, "torchcodec_nasa_13013.mp4.stream3.frame000035.pt"),
        ("multistream_nasa.mp4", 389, "torchcodec_nasa_13013.mp4.stream3.frame000389.pt"),
        ("av1_video.mkv", 10, "torchcodec_av1_video.mkv.stream0.frame000010.pt"),
    ],
)
def test_fast_colour_is_torchcodecs_bit_for_bit(data_dir: Path, name: str, index: int, reference: str) -> None:
    expected = torch.load(data_dir / "tensors" / reference, weights_only=True)
    frames, times = read_all(data_dir / "odd" / name, colour="fast")
    assert torch.equal(frames[index], expected)
    window, _ = read_all(data_dir / "odd" / name, start=times[index], colour="fast", chunk_frames=1)
    assert torch.equal(window[0], expected)


@pytest.mark.data
def test_pq_keeps_its_curve(data_dir: Path) -> None:
    """16-bit RGB of the same frame, chroma repeated: the same picture but for chroma edges, and no tone mapping."""
    stored = torch.load(data_dir / "tensors/torchcodec_testsrc2_12bit_hdr.frame000005.rgb48.pt", weights_only=True)
    expected = (stored.to(torch.int32) & 0xFFFF).double() / 257
    expected = expected if expected.shape[-1] == 3 else expected.permute(1, 2, 0)
    frames, _ = read_all(data_dir / "odd/testsrc2_12bit_hdr.mp4", stop=0.5)
    error = (frames[5].double() - expected).abs()
    assert error.median() <= 1
    assert error.mean() <= 3
    with open_video(data_dir / "odd/testsrc2_12bit_hdr.mp4") as source:
        assert source.spec.transfer == "pq"


@pytest.mark.data
@pytest.mark.parametrize("name", ["hevc_gbrp_1frame.mp4", "vp9_gbrp_1frame.mkv"])
def test_rgb_is_taken_as_it_is(data_dir: Path, name: str) -> None:
    (green, blue, red), _ = decoded_planes(data_dir / "odd" / name, 0)
    frames, _ = read_all(data_dir / "odd" / name)
    assert np.array_equal(frames[0].numpy(), np.stack([red, green, blue], -1))


def test_agrees_with_ffmpeg(run_ffmpeg: Callable[..., Path], tmp_path: Path) -> None:
    """The fast path is what the ffmpeg program gives."""
    source = "testsrc2=size=320x180:rate=5:duration=1"
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    video = run_ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", *tags, "-c:v", "libx264", "a.mp4")
    raw = run_ffmpeg("-i", str(video), "-pix_fmt", "rgb24", "-f", "rawvideo", "a.rgb")
    expected = torch.from_numpy(np.fromfile(raw, np.uint8)).view(5, 180, 320, 3)
    frames, _ = read_all(video, colour="fast")
    assert (frames.int() - expected.int()).abs().max() <= 1
    exact, _ = read_all(video)
    assert (exact.float() - expected.float()).abs().mean() <= 4
