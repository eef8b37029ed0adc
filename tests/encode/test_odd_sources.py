"""Seventy awkward files among good ones: each is encoded rightly or told with its reason; nothing hangs or dies."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from encode_helpers import encode, seeded
from pipeline_helpers import make_clip

import vidlatent
from vidlatent.errors import VideoError
from vidlatent.io import open_video, to_float

# Of the others, a few that cost least: the whole folder is for the slow test.
QUICK = (
    *("audio_only.mp4", "bomb_16383x16383.webp", "chunk_out_of_range.mp4", "empty_0_bytes.webm", "encrypted_cenc.mp4"),
    *("error_i_p.264", "issue245.gif", "loop_forever.avif", "minimal.mp4", "one_pixel.mp4", "rot_90.mov"),
    *("test_case_1185230.mp4", "three_frames.avi", "truncated_46s.mkv", "vfr_poolclip.mp4", "header_only_231s.mp4"),
)


def frames_of(path: Path) -> int | None:
    """Frames that the video shows, None where it is refused or damaged."""
    try:
        with open_video(path, size=(32, 32)) as video:
            return sum(clip.num_frames for clip in video)
    except VideoError:
        return None


def check(source: Path, out: Path) -> tuple[int, int]:
    ae = seeded()
    stats = encode(source, out, ae, frames=None, size=(32, 32), dtype="float32", timeout_seconds=60, decoders=2)
    told = {json.loads(line)["path"]: json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()}
    dataset = vidlatent.open_latents(out)
    found = {dataset[index]["meta"].source.uri: dataset[index] for index in range(len(dataset))}
    files = {str(path) for path in source.iterdir()}
    assert set(told) | set(found) == files
    assert not set(told) & set(found)
    assert all(record["stage"] == "decode" and record["error"] for record in told.values())
    for name in ("good a.mp4", "good b.mkv"):
        with open_video(source / name, size=(32, 32)) as video:
            frames = torch.cat([clip.frames for clip in video])
        with torch.no_grad():
            whole = ae.encode(to_float(frames)).mean[0].transpose(0, 1)
        latents = found[str(source / name)]["latents"].reshape(whole.shape)
        torch.testing.assert_close(latents, whole, rtol=1e-4, atol=1e-5)
    for path in source.iterdir():
        encoded = found[str(path)]["meta"].num_frames if str(path) in found else None
        assert encoded == frames_of(path), path
    assert encode(source, out, ae, frames=None, size=(32, 32), dtype="float32").skipped == len(files)
    return stats.clips, stats.failures


@pytest.mark.data
@pytest.mark.parametrize("names", [QUICK, pytest.param((), marks=pytest.mark.slow)], ids=["some", "all"])
def test_odd_files_among_good_ones(
    tmp_path: Path, data_dir: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for path in sorted((data_dir / "odd").iterdir()):
        if not names or path.name in names:
            shutil.copy(path, source)
    make_clip(source / "good a.mp4", 19)
    make_clip(source / "good b.mkv", 33)
    clips, failures = check(source, tmp_path / "out")
    assert clips >= 6 and failures >= 6  # noqa: PT018
    with capsys.disabled():
        print(f"\n{clips} encoded, {failures} told, of {len(list(source.iterdir()))}")


@pytest.mark.data
def test_own_size_rotation_and_times_are_kept(tmp_path: Path, data_dir: Path) -> None:
    names = ("rot_90.mov", "three_frames.avi", "one_pixel.mp4", "issue245.gif")
    (tmp_path / "videos").mkdir()
    for name in names:
        shutil.copy(data_dir / "odd" / name, tmp_path / "videos")
    assert encode(tmp_path / "videos", tmp_path / "out", seeded(), frames=None).failures == 0
    dataset = vidlatent.open_latents(tmp_path / "out")
    assert len(dataset) == len(names)
    for index in range(len(dataset)):
        meta = dataset.meta(index)
        with open_video(meta.source.uri) as video:
            assert meta.size == (video.height, video.width)
            assert list(meta.pts_seconds) == [time for clip in video for time in clip.pts_seconds]
