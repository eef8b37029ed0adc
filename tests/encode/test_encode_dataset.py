"""A source to a dataset: every clip once, what was there stays, what cannot be encoded is told."""

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from awkward_policies import ERROR, HANG, SEGFAULT, Awkward
from encode_helpers import assert_same, clips_of, encode, make_model, make_videos, seeded
from pipeline_helpers import make_clip, read_clip

import vidlatent
from vidlatent.autoencoders import Autoencoder
from vidlatent.encode import Stats, resume_dataset
from vidlatent.encode.job import make_job
from vidlatent.encode.pipeline import storing
from vidlatent.encode.pipeline.worker import TooManyFailures, Worker
from vidlatent.encode.policy import Shape
from vidlatent.errors import InputError, LatentFileError
from vidlatent.io import to_float


@pytest.fixture(scope="module")
def ae() -> Autoencoder:
    return seeded()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"))


def failures(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "failures.jsonl").read_text().splitlines()
    return {Path(record["path"]).name: record for record in map(json.loads, lines)}


def test_clips_hold_what_encoding_them_whole_gives(tmp_path: Path, ae: Autoencoder, videos: Path) -> None:
    told: list[Stats] = []
    stats = encode(videos, tmp_path, ae, frames=None, dtype="float32", progress=told.append)
    assert (stats.clips, stats.rows, stats.failures, stats.total) == (6, 6, 0, 6)
    assert stats.frames == sum(len(read_clip(path)[0]) for path in videos.iterdir())
    assert told[-1] == stats
    dataset = vidlatent.open_latents(tmp_path)
    for index in range(len(dataset)):
        item = dataset[index]
        frames, times = read_clip(Path(item["meta"].source.uri))
        with torch.no_grad():
            whole = ae.encode(to_float(frames)).mean[0].transpose(0, 1)
        torch.testing.assert_close(item["latents"].reshape(whole.shape), whole, rtol=1e-4, atol=1e-5)
        assert list(item["meta"].pts_seconds) == times
        assert item["meta"].source.stop_seconds == Fraction(len(frames), 25)


def test_started_again_nothing_is_done_twice_and_new_files_are_added(
    tmp_path: Path, ae: Autoencoder, videos: Path
) -> None:
    source = Path(shutil.copytree(videos, tmp_path / "videos"))
    out = tmp_path / "out"
    first = encode(source, out, ae)
    before = clips_of(out)
    again = encode(source, out, ae)
    assert (again.clips, again.skipped, again.known) == (0, 6, 0)
    make_clip(source / "new.mp4", 11)
    shutil.copy(source / "000.mp4", source / "same content.mp4")
    more = encode(source, out, ae)
    assert (more.clips, more.skipped, more.rows, more.known) == (2, 6, 2, 1)
    after = clips_of(out)
    assert len(after) == first.clips + 2
    assert_same({key: after[key] for key in before}, before)
    (out / "progress/w0.jsonl").unlink()  # without the journal rows are looked at again, and no clip is encoded
    assert encode(source, out, ae).known == len(after) + 1
    assert clips_of(out).keys() == after.keys()


def test_batches_and_streams_and_windows_with_memory_give_the_same(
    tmp_path: Path, ae: Autoencoder, videos: Path
) -> None:
    encode(videos, tmp_path / "a", ae, frames=None)
    # Four frames make the buffer full: everything is a stream.
    encode(videos, tmp_path / "b", ae, frames=None, buffer=4 * 40 * 56 * 3, memory="60MB", decoders=2)
    assert_same(clips_of(tmp_path / "a"), clips_of(tmp_path / "b"))


def test_other_settings_in_the_same_place_are_an_error_that_names_them(
    tmp_path: Path, ae: Autoencoder, videos: Path
) -> None:
    encode(videos, tmp_path, ae)
    changes: list[tuple[dict[str, Any], str]] = [({"frames": 9}, '"frames": 9'), ({"dtype": "float32"}, "dtype")]
    for change, named in [*changes, *([({"kind": "moments"}, "kind")] if ae.has_logvar else [])]:
        with pytest.raises(LatentFileError, match=named):
            encode(videos, tmp_path, ae, **change)
    torch.manual_seed(1)
    other = vidlatent.build("vidlatent-tiny", seed=5, encoder_widths=(16, 16), decoder_widths=(16, 16))
    with pytest.raises(LatentFileError, match="fingerprint"):
        encode(videos, tmp_path, other)


def test_the_job_is_kept_and_taken_up(tmp_path: Path, videos: Path) -> None:
    model = make_model(tmp_path / "m.safetensors")
    out = tmp_path / "out"
    encode(videos, out, model, fps=Fraction(30000, 1001), size=(24, 32))
    keys = clips_of(out).keys()
    assert resume_dataset(out).skipped == 6
    shutil.rmtree(out / "shards")  # as after a repair that put everything aside
    assert resume_dataset(out).clips == len(keys)
    assert clips_of(out).keys() == keys
    with pytest.raises(LatentFileError, match=r"no job\.json"):
        resume_dataset(tmp_path)


def test_bad_files_are_told_and_tried_again_only_when_asked(tmp_path: Path, ae: Autoencoder, videos: Path) -> None:
    source = Path(shutil.copytree(videos, tmp_path / "videos"))
    whole = (source / "004.mp4").read_bytes()
    (source / "004.mp4").write_bytes(whole[: len(whole) // 2])
    (source / "empty.mp4").touch()
    out = tmp_path / "out"
    stats = encode(source, out, ae)
    told = failures(out)
    assert (stats.failures, set(told)) == (2, {"004.mp4", "empty.mp4"})
    assert told["empty.mp4"]["stage"] == "decode"
    assert "empty" in told["empty.mp4"]["error"]
    again = encode(source, out, ae)
    assert (again.skipped, again.failures) == (8 - 1, 0)
    assert set(failures(out)) == {"004.mp4", "empty.mp4"}
    os.utime(source / "empty.mp4", ns=(1, 1))
    make_clip(source / "empty.mp4", 9)
    retried = encode(source, out, ae, retry_failed=True)
    assert (retried.clips, retried.failures) == (2, 1)
    with pytest.raises(TooManyFailures, match="no more than 0"):
        encode(source, tmp_path / "strict", ae, max_failures=0)


def run_awkward(source: Path, out: Path, ae: Autoencoder, **options: Any) -> Stats:
    policy = Awkward(buckets=(Shape((40, 56)),))
    job = make_job(
        ae,
        model="x",
        policy=policy,
        kind="mean",
        dtype="float32",
        precision="float32",
        sources=(str(source),),
        out=str(out),
        **options,
    )
    with Worker(job, ae, name="w0", decoders=2) as worker:
        return worker.run(job.open())


def test_a_decoder_that_crashes_hangs_or_raises_takes_nobody_along(
    tmp_path: Path, ae: Autoencoder, videos: Path
) -> None:
    source = Path(shutil.copytree(videos, tmp_path / "videos"))
    for height in (SEGFAULT, HANG, ERROR):
        make_videos(tmp_path / f"{height}", 1, height=height)
        shutil.move(tmp_path / f"{height}/000.mp4", source / f"003 {height}.mp4")
    stats = run_awkward(source, tmp_path / "out", ae, timeout_seconds=3.0)
    assert (stats.clips, stats.failures) == (6, 3)
    told = {name: record["error"] for name, record in failures(tmp_path / "out").items()}
    assert "crashed (signal 11, SIGSEGV), 2 times" in told[f"003 {SEGFAULT}.mp4"]
    assert "hangs: no frames within 3 s" in told[f"003 {HANG}.mp4"]
    assert told[f"003 {ERROR}.mp4"] == "RuntimeError: the library gave up"


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(
    tmp_path: Path, ae: Autoencoder, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = storing.DatasetWriter.add, [4]

    def full(self: Any, *arguments: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise LatentFileError("out: cannot be written: No space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(storing.DatasetWriter, "add", full)
    with pytest.raises(LatentFileError, match="No space left"):
        encode(videos, tmp_path / "out", ae)
    monkeypatch.undo()
    assert 1 <= len(clips_of(tmp_path / "out")) <= 4
    encode(videos, tmp_path / "out", ae)
    encode(videos, tmp_path / "whole", ae)
    assert_same(clips_of(tmp_path / "out"), clips_of(tmp_path / "whole"))


def test_wrong_arguments_are_told_before_anything_is_made(tmp_path: Path, ae: Autoencoder, videos: Path) -> None:
    out = tmp_path / "out"
    for arguments, message in (
        ({"engine": "slurm"}, "expected 'local', 'accelerate' or 'ray'"),
        ({"timeout_seconds": 0}, "a positive time"),
        ({"workers": 2}, "stays in this process"),
        ({"source": tmp_path / "none"}, "there is nothing here"),
        ({"decoders": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            encode(**{"source": videos, "out": out, "model": ae, **arguments})
    assert not (out / "shards").exists()
    locked = tmp_path / "locked"
    locked.write_text("a file")
    with pytest.raises(LatentFileError, match="locked"):
        encode(videos, locked, ae)


def test_urls_in_and_out(tmp_path: Path, ae: Autoencoder, videos: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in videos.iterdir():
        memory.pipe(f"/in/{path.name}", path.read_bytes())
    try:
        stats = encode("memory://in", "memory://out", ae)
        encode(f"file://{videos}", tmp_path, ae)
        assert_same(clips_of("memory://out"), clips_of(tmp_path))
        assert len(memory.glob("/out/shards/*.tar")) == 1  # though commits are asked for all the time
        assert encode("memory://in", "memory://out", ae).skipped == stats.rows == 6
    finally:
        memory.rm("/", recursive=True)


def test_nan_and_too_large_latents_fail_their_clip_alone(tmp_path: Path, ae: Autoencoder, videos: Path) -> None:
    broken = seeded()
    broken.encoder.register_forward_hook(lambda module, args, out: out * float("nan"))
    stats = encode(videos, tmp_path, broken, batch=1, frames=None)
    assert (stats.clips, stats.failures) == (0, 6)
    assert all(record["stage"] == "store" and "NaN" in record["error"] for record in failures(tmp_path).values())
