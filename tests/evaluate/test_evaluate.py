"""Rows, tables, protocols, and going on after a death."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluate_helpers import FAST, dies_on_second, write_clip, write_model
from torch import Tensor

import vidlatent
from vidlatent import metrics
from vidlatent.errors import InputError, ModelError
from vidlatent.evaluate import Evaluation, Protocol, Settings, evaluate
from vidlatent.evaluate.baselines import Codec
from vidlatent.evaluate.candidate import Code, Shape
from vidlatent.evaluate.job import Job, Row, Subject
from vidlatent.evaluate.protocol import find_clips, identified
from vidlatent.evaluate.runner import run_jobs


@pytest.fixture(scope="module")
def done(clips: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("out")
    baselines = ["pca", "h264", "bicubic", "h264@0.5", "h264@int8"]
    return evaluate(clips, [str(model)], out, baselines=baselines, probe=True, **FAST)


def by_place(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row["clip"], row["candidate"]): row for row in rows}


def test_a_row_is_what_the_model_does(done: Evaluation, clips: Path, model: Path) -> None:
    assert [row["status"] for row in done.rows] == ["ok"] * 12
    row = by_place(done.rows)["slow.mp4", "narrow"]
    ae = vidlatent.load(str(model))
    with vidlatent.open_video(clips / "slow.mp4", size=(48, 64)) as source:
        video = vidlatent.to_float(next(iter(source)).frames)
    posterior = ae.encode(video)
    again = vidlatent.to_uint8(ae.decode(posterior.mode(), num_frames=9, size=(48, 64)))
    got = vidlatent.to_float(again)
    assert row["psnr"] == pytest.approx(metrics.psnr(got, video), abs=1e-3)
    assert row["ssim"] == pytest.approx(metrics.ssim(got, video), abs=1e-5)
    assert row["flicker"] == pytest.approx(metrics.flicker(got, video), abs=1e-2)
    assert row["frame_psnr"] == pytest.approx(metrics.frame_psnr(got, video)[0].tolist(), abs=1e-3)
    latents = posterior.mode()
    assert row["values_per_pixel"] == pytest.approx(latents.numel() / (9 * 48 * 64))
    assert row["bits_per_pixel"] == pytest.approx(16 * row["values_per_pixel"])
    assert 0 < row["rate_bits_per_pixel"] < row["int8_bits_per_pixel"] == pytest.approx(8 * row["values_per_pixel"])
    assert abs(row["rate_psnr"] - row["psnr"]) < 0.5
    assert len(row["latent_eigenvalues"]) == ae.latent_spec.channels
    assert row["round_trip_gap"] > 0
    assert row["worst_frame"] == min(range(9), key=row["frame_psnr"].__getitem__)


def test_codecs_match_the_bits_and_pca_the_size(done: Evaluation) -> None:
    rows = by_place(done.rows)
    for clip in ("slow.mp4", "fast.mp4"):
        target = rows[clip, "narrow"]["rate_bits_per_pixel"]
        matched = rows[clip, "h264"]
        assert matched["bits_per_pixel"] == pytest.approx(target, rel=0.25) or matched["note"] in ("crf 0", "crf 51")
        uncoded = rows[clip, "narrow"]["int8_bits_per_pixel"]
        assert abs(rows[clip, "h264@int8"]["bits_per_pixel"] - uncoded) < abs(matched["bits_per_pixel"] - uncoded)
        assert rows[clip, "pca-4x8x8-16"]["values_per_pixel"] == rows[clip, "narrow"]["values_per_pixel"]
        # The best linear code of these very clips beats a model that never learned.
        assert rows[clip, "pca-4x8x8-16"]["psnr"] > rows[clip, "narrow"]["psnr"] + 5
        assert rows[clip, "bicubic"]["values_per_pixel"] == pytest.approx(3 / 48, rel=0.2)


def test_the_motion_of_a_clip_is_found_once_for_all_candidates(
    clips: Path, tmp_path: Path, flows_found: list[Tensor]
) -> None:
    result = evaluate(clips, [], tmp_path, baselines=["bicubic@2", "bicubic@4", "h264@0.5"], **FAST)
    assert len({row["warped_error"] for row in result.rows}) == 6
    assert len(flows_found) == 2 * (FAST["frames"] - 1)


def test_a_codec_is_timed_without_its_search() -> None:
    clip = torch.randint(0, 256, (5, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    began = time.perf_counter()
    code = Codec("h264", 1.0).encode([clip], Shape(5, 64, 64))
    assert 0 < code.seconds < (time.perf_counter() - began) / 2


def test_a_codec_searches_at_another_rate_among_what_it_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = torch.randint(0, 256, (5, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    written, write = [], Codec._written

    def counted(self: Codec, clip: Tensor, shape: Shape, crf: int) -> Code:
        written.append(crf)
        return write(self, clip, shape, crf)

    monkeypatch.setattr(Codec, "_written", counted)
    tried: dict[int, Code] = {}
    for rate in (1.0, 2.0):
        code = Codec("h264", rate, tried).encode([clip], Shape(5, 64, 64))
        assert code.note == Codec("h264", rate).encode([clip], Shape(5, 64, 64)).note
    assert len(tried) < 10
    assert len(written) > len(tried) == len(set(written))


def test_the_summary_and_the_table(done: Evaluation) -> None:
    from pyarrow import parquet

    table = parquet.read_table(done.folder / "results.parquet").to_pylist()
    assert [row["key"] for row in table] == [row["key"] for row in done.rows]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary == json.loads(json.dumps(done.summary))
    assert summary["protocol_hash"] == Protocol.model_validate(summary["protocol"]).hash
    rows = by_place(done.rows)
    for record in summary["candidates"]:
        mine = [rows[clip, record["candidate"]]["psnr"] for clip in ("slow.mp4", "fast.mp4")]
        assert record["psnr"] == pytest.approx(sum(mine) / 2)
    values = [record["psnr"] for record in summary["candidates"]]
    assert values == sorted(values, reverse=True)
    record = next(r for r in summary["candidates"] if r["candidate"] == "narrow")
    assert record["fingerprint"] == rows["slow.mp4", "narrow"]["fingerprint"]


def test_memory_and_slabs_do_not_change_the_figures(done: Evaluation, clips: Path, model: Path, tmp_path: Path) -> None:
    small = replace(FAST["settings"], memory="40MiB")
    swept = evaluate(clips / "slow.mp4", [str(model)], tmp_path / "out", frames=9, size=(48, 64), settings=small)
    whole = by_place(done.rows)["slow.mp4", "narrow"]
    for name in ("psnr", "ssim", "flicker", "rate_psnr"):
        assert swept.rows[0][name] == pytest.approx(whole[name], rel=1e-4), name


def test_clips_may_keep_their_own_size(clips: Path, model: Path, tmp_path: Path) -> None:
    given = {"baselines": ["pca", "h264"], "frames": 9, "settings": FAST["settings"]}
    done = evaluate(clips, [str(model)], tmp_path / "out", size=None, **given)
    assert all(row["status"] == "ok" for row in done.rows), done.rows
    for row in done.rows:
        with vidlatent.open_video(clips / row["clip"]) as source:
            assert (row["height"], row["width"]) == (source.spec.height, source.spec.width)
    with pytest.raises(InputError, match="size"):
        evaluate(clips, [str(model)], tmp_path / "out", size=(48, 64), **given)


def test_what_is_done_is_not_done_again(clips: Path, model: Path, tmp_path: Path) -> None:
    first = evaluate(clips, [str(model)], tmp_path, baselines=["bicubic@2"], **FAST)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    again = evaluate(clips, [str(model)], tmp_path, baselines=["bicubic@2"], **FAST)
    assert (first.resumed, again.resumed) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()} == times
    # A further candidate joins; those measured before stay in the table though they are not asked for again.
    more = evaluate(clips, [], tmp_path, baselines=["bicubic@4"], **FAST)
    assert len(more.rows) == 6
    assert {r["candidate"] for r in more.summary["candidates"]} == {"narrow", "bicubic@2", "bicubic@4"}


def test_other_protocols_and_other_weights_are_refused(clips: Path, model: Path, tmp_path: Path) -> None:
    evaluate(clips, [], tmp_path / "out", baselines=["bicubic@2"], **FAST)
    for change in ({"frames": 5}, {"size": (48, 48)}, {"probe": True}, {"fps": "10"}):
        with pytest.raises(InputError, match=f"another protocol.*{next(iter(change))}"):
            evaluate(clips, [], tmp_path / "out", baselines=["bicubic@2"], **{**FAST, **change})
    with pytest.raises(InputError, match=r"another protocol.*clips"):
        evaluate(clips / "slow.mp4", [], tmp_path / "out", baselines=["bicubic@2"], **FAST)
    evaluate(clips, [str(model)], tmp_path / "out", **FAST)
    other = write_model(tmp_path / "narrow.safetensors", seed=1)
    with pytest.raises(InputError, match="choose another folder"):
        evaluate(clips, [str(other)], tmp_path / "out", **FAST)


def test_what_goes_wrong_is_a_row_and_never_a_mean(clips: Path, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "good.mp4")
    write_clip(folder / "short.mp4", 4)
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:300])
    spoilt = write_model(tmp_path / "spoilt.safetensors", spoil=True)
    result = evaluate(folder, [str(model), str(spoilt)], tmp_path / "out", baselines=["h264", "pca"], **FAST)
    rows = by_place(result.rows)
    assert "has 4 frames, and the protocol takes 9" in rows["short.mp4", "narrow"]["reason"]
    assert rows["broken.mp4", "narrow"]["status"] == "failed"
    assert "NaN" in rows["good.mp4", "spoilt"]["reason"]
    assert "no result on this clip to match" in rows["short.mp4", "h264"]["reason"]
    assert [row["candidate"] for row in result.rows if row["status"] == "ok"] == ["h264", "narrow", "pca-4x8x8-16"]
    records = {record["candidate"]: record for record in result.summary["candidates"]}
    assert result.summary["clips_averaged"] == ["good.mp4"]
    assert records["narrow"]["psnr"] == rows["good.mp4", "narrow"]["psnr"]
    assert records["narrow"]["clips_failed"] == 2
    assert "psnr" not in records["spoilt"]
    assert result.summary["candidates"][-1]["candidate"] == "spoilt"


def test_means_are_over_the_same_clips_for_all(clips: Path, tmp_path: Path) -> None:
    result = evaluate(clips, [], tmp_path, baselines=["bicubic@2", "bicubic@4"], **FAST)
    path = next(p for p in (tmp_path / "rows").iterdir() if "fast" in p.name and "_4" in p.name)
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"status": "ok", "psnr": 99.0}))  # were it counted, the mean would tell
    again = evaluate(clips, [], tmp_path, baselines=["bicubic@2", "bicubic@4"], **FAST)
    means = {record["candidate"]: record["psnr"] for record in again.summary["candidates"]}
    before = {record["candidate"]: record["psnr"] for record in result.summary["candidates"]}
    assert means["bicubic@4"] > before["bicubic@4"]
    assert means["bicubic@2"] == before["bicubic@2"]


def test_missing_weights_and_empty_requests_are_told_at_once(clips: Path, tmp_path: Path) -> None:
    lpips = Settings(lpips_weights=(str(tmp_path / "none.pth"),))
    with pytest.raises(ModelError, match="no such file"):
        evaluate(clips, [], tmp_path / "out", baselines=["bicubic@2"], settings=lpips)
    with pytest.raises(ModelError, match="i3d needs local weights"):
        evaluate(clips, [], tmp_path / "out", baselines=["bicubic@2"], features="i3d")
    with pytest.raises(InputError, match="at least one model or baseline"):
        evaluate(clips, [], tmp_path / "out")
    for unmatched in ("h264", "av1@int8"):
        with pytest.raises(InputError, match="nothing to match"):
            evaluate(clips, [], tmp_path / "out", baselines=[unmatched])
    for wrong in ("mpeg9", "pca@int8", "bicubic@int8", "h264@int4"):
        with pytest.raises(InputError, match="expected one of"):
            evaluate(clips, [], tmp_path / "out", baselines=[wrong])
    with pytest.raises(InputError, match="no such file"):
        evaluate(tmp_path / "nowhere.mp4", [], tmp_path / "out", baselines=["bicubic@2"])


def test_features_give_distances_between_sets(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    for index in range(2):
        write_clip(folder / f"{index}.mp4", 34, speed=0.1 + index)
    options = {**FAST, "frames": 32, "features": "random"}
    result = evaluate(folder, [], tmp_path / "out", baselines=["bicubic@2", "bicubic@8"], **options)
    records = {record["candidate"]: record for record in result.summary["candidates"]}
    assert records["bicubic@2"]["windows"] == 4
    assert 0 <= records["bicubic@2"]["random_distance"] < records["bicubic@8"]["random_distance"]
    short = evaluate(clips, [], tmp_path / "short", baselines=["bicubic@2"], features="random", **FAST)
    assert "takes 16 frames" in short.rows[0]["reason"]


def test_a_worker_that_dies_takes_only_its_own_job(tmp_path: Path) -> None:
    protocol = Protocol(clips=tuple((f"{index}.mp4", "") for index in range(2)))
    subject = Subject("bicubic@2", "bicubic", "", value=2.0)
    jobs = [Job(str(tmp_path), protocol, "", name, subject) for name, _ in protocol.clips]
    rows: list[Row] = []
    run_jobs(jobs, 2, rows.append, work=dies_on_second)
    assert {row["clip"]: row["reason"][:16] for row in rows} == {
        "0.mp4": "reached", "1.mp4": "the process died",
    }  # fmt: skip


SCRIPT = """
import sys
from vidlatent.evaluate import Settings, evaluate
evaluate(sys.argv[1], [], sys.argv[2], baselines=["bicubic@2", "bicubic@3", "bicubic@4"], frames=9, size=(48, 64),
         settings=Settings(previews=False))
"""


def test_killed_and_resumed_it_ends_the_same(clips: Path, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(clips), str(tmp_path / "killed")])
    rows = tmp_path / "killed" / "rows"
    while not (rows.is_dir() and list(rows.glob("*.json"))) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(list(rows.glob("*.json")))
    assert left >= 1
    options = {**FAST, "baselines": ["bicubic@2", "bicubic@3", "bicubic@4"]}
    resumed = evaluate(clips, [], tmp_path / "killed", **options)
    assert resumed.resumed == left
    plain = evaluate(clips, [], tmp_path / "plain", **options)
    figures = ("clip", "candidate", "psnr", "ssim", "flicker", "bits_per_pixel")
    for a, b in zip(resumed.rows, plain.rows, strict=True):
        assert [a[name] for name in figures] == [b[name] for name in figures]
    assert resumed.summary["results_hash"] == plain.summary["results_hash"]


def test_clips_are_found_and_named(tmp_path: Path) -> None:
    for name in ("a/one.mp4", "b/one.mp4", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = find_clips(tmp_path)
    assert [path.name for path in found] == ["one.mp4", "one.mp4"]
    names = [name for name, _ in identified(found)]
    assert len(set(names)) == 2
    (tmp_path / "list.txt").write_text("# two\nb/one.mp4\n\n")
    assert find_clips(tmp_path / "list.txt") == [tmp_path / "b/one.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        find_clips(tmp_path / "empty")
