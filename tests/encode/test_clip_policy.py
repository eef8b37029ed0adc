"""Clips of a video: windows, strides, tails, scenes and buckets hold exactly the frames they should."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from pipeline_helpers import make_clip, read_clip
from torch import Tensor

import vidlatent
from vidlatent.encode.pipeline.cutting import Begin, End, Frames, Task, cut
from vidlatent.encode.policy import ClipPolicy, Shape
from vidlatent.errors import InputError, VideoError

Cut = list[tuple[Begin, Tensor, list[Fraction]]]


def clips(path: Path, policy: ClipPolicy, **options: object) -> Cut:
    found: Cut = []
    frames: list[Tensor] = []
    times: list[Fraction] = []
    begin: Begin | None = None
    for event in cut(Task(path, path.name, "0" * 64, policy, **options)):  # type: ignore[arg-type]
        match event:
            case Begin():
                assert begin is None
                begin, frames, times = event, [], []
            case Frames():
                frames.append(event.frames)
                times.extend(event.times)
            case End():
                if event.kept:
                    assert begin is not None
                    found.append((begin, torch.cat(frames), times))
                begin = None
    assert begin is None
    return found


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("cut") / "a.mp4", 29)


@pytest.fixture(scope="module")
def whole(video: Path) -> Tensor:
    return read_clip(video)[0]


@pytest.mark.parametrize("frames", [1, 5, 8, 16, 29])
@pytest.mark.parametrize("stride", [1, 3, 5, 8, 11])
@pytest.mark.parametrize("tail", ["drop", "keep"])
def test_windows_hold_the_frames_they_should(video: Path, whole: Tensor, frames: int, stride: int, tail: str) -> None:
    found = clips(video, ClipPolicy(Shape(frames=frames), stride, tail))  # type: ignore[arg-type]
    starts = list(range(0, 29, stride))
    wanted = [whole[start : start + frames] for start in starts if start + frames <= 29]
    if tail == "keep":
        rest = len(wanted) * stride
        before = rest - stride + frames if wanted else 0
        if rest < 29 and before < 29:
            wanted.append(whole[rest:])
    assert [tuple(c[1].shape) for c in found] == [tuple(w.shape) for w in wanted]
    assert all(torch.equal(c[1], w) for c, w in zip(found, wanted, strict=True))
    assert len({begin.key for begin, _, _ in found}) == len(found)
    for (_, _, times), start in zip(found, starts, strict=False):
        assert times[0] == Fraction(start, 25)


def test_the_whole_video_a_part_of_it_and_another_size_and_rate(video: Path, whole: Tensor) -> None:
    ((begin, frames, _),) = clips(video, ClipPolicy())
    assert torch.equal(frames, whole)
    assert (begin.size, begin.fps) == ((40, 56), 25)
    ((part, frames, _),) = clips(video, ClipPolicy(), start=Fraction(1, 5), stop=Fraction(3, 5))
    assert torch.equal(frames, whole[5:15])
    assert part.key != begin.key
    ((small, frames, _),) = clips(video, ClipPolicy(Shape((24, 24), None, Fraction(5))))
    assert (tuple(frames.shape), small.fps) == ((6, 24, 24, 3), 5)


def test_no_clip_spans_a_cut(video: Path, whole: Tensor) -> None:
    cuts = (Fraction(7, 25), Fraction(20, 25), Fraction(9))
    found = clips(video, ClipPolicy(), cuts=cuts)
    assert [len(frames) for _, frames, _ in found] == [7, 13, 9]
    assert torch.equal(torch.cat([frames for _, frames, _ in found]), whole)
    found = clips(video, ClipPolicy(Shape(frames=4)), cuts=cuts)
    firsts = [round(times[0] * 25) for _, _, times in found]
    assert firsts == [0, 7, 11, 15, 20, 24]


def test_an_image_is_a_clip_of_one_frame_and_a_short_video_says_that_it_is_short(tmp_path: Path, video: Path) -> None:
    from PIL import Image

    Image.new("RGB", (33, 21), (200, 30, 60)).save(tmp_path / "a.png")
    for policy in (ClipPolicy(), ClipPolicy(Shape(frames=17))):
        ((begin, frames, _),) = clips(tmp_path / "a.png", policy)
        assert (tuple(frames.shape), begin.size) == ((1, 21, 33, 3), (21, 33))
    with pytest.raises(VideoError, match="it has 29 frames, a clip 30"):
        clips(video, ClipPolicy(Shape(frames=30)))


def test_a_video_gets_the_bucket_nearest_to_its_aspect_and_the_longest_it_fills(video: Path) -> None:
    shapes = ("32x32", "40x56x9", "40x56x16", "40x56x33", "56x40x9", "20x28x12@5")
    policy = ClipPolicy(buckets=tuple(map(Shape.parse, shapes)))
    found = clips(video, policy)
    assert [tuple(frames.shape) for _, frames, _ in found] == [(16, 40, 56, 3)]
    assert policy.choose(70, 50, Fraction(25), Fraction(9)) == Shape((56, 40), 9)
    assert policy.choose(50, 51, Fraction(25), None) == Shape((32, 32))
    assert policy.choose(40, 56, Fraction(25), Fraction(1, 25)) == Shape((40, 56), 9)
    with pytest.raises(InputError, match="bucket '480': expected HEIGHTxWIDTH"):
        Shape.parse("480")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": Shape(frames=0)}, "at least one"),
        ({"stride": 4}, "give frames too"),
        ({"shape": Shape(frames=4), "stride": 0}, "at least one frame apart"),
        ({"shape": Shape(32), "buckets": (Shape((32, 32)),)}, "say size, frames and rate themselves"),
        ({"tail": "maybe"}, "expected 'drop' or 'keep'"),
    ],
)
def test_policies_that_make_no_sense_are_errors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClipPolicy(**arguments)  # type: ignore[arg-type]


def test_a_policy_says_all_of_itself() -> None:
    for policy in (
        ClipPolicy(Shape(480, 17, Fraction(30000, 1001)), 8, "keep"),
        ClipPolicy(buckets=(Shape((32, 48), 9), Shape((48, 32), None, Fraction(16)))),
    ):
        assert ClipPolicy.from_json(policy.to_json()) == policy
    assert vidlatent.encode.policy is not None
