"""Verifying finds whatever is changed, cut, lost, doubled or foreign; repair leaves what is whole, and only that."""

import json
import shutil
import tarfile
from pathlib import Path

import dataset_helpers as helpers
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidlatent.errors import LatentFileError
from vidlatent.latents import LatentDataset, committed_keys
from vidlatent.latents.dataset import repair, verify
from vidlatent.latents.dataset.index import pack_line

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = range(7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    helpers.write(tmp_path / "set", NUMBERS)
    assert len(list((tmp_path / "set" / "shards").glob("*.tar"))) == 2
    return tmp_path / "set"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good")
    helpers.write(path, NUMBERS)
    return path


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def kinds(folder: Path) -> set[str]:
    return {problem.kind for problem in verify(folder).problems}


def test_nothing_is_wrong_with_what_was_written(folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = verify(folder, fingerprint="0123abcd", progress=lambda done, total: seen.append((done, total)))
    assert found.ok
    assert (found.num_clips, found.num_shards, found.unfinished) == (7, 2, [])
    frames = sum(map(helpers.frames_of, NUMBERS))
    assert seen[-1] == (frames, frames)


@quick
@given(which=st.integers(0, 10**6), place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(good: Path, which: int, place: int, bit: int) -> None:
    paths = files(good)
    path = paths[which % len(paths)]
    data = path.read_bytes()
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    try:
        path.write_bytes(changed)
        _assert_found(good)
    finally:
        path.write_bytes(data)


@quick
@given(which=st.integers(0, 10**6), keep=st.integers(0, 10**9))
def test_a_file_cut_off_anywhere_is_found(good: Path, which: int, keep: int) -> None:
    paths = files(good)
    path = paths[which % len(paths)]
    data = path.read_bytes()
    try:
        path.write_bytes(data[: keep % len(data)])
        _assert_found(good)
    finally:
        path.write_bytes(data)


def _assert_found(folder: Path) -> None:
    try:
        found = verify(folder)
    except LatentFileError:  # dataset.json itself
        return
    assert not found.ok


@pytest.mark.parametrize("name", ["w0-00000.tar", "w0-00001.index.jsonl"])
def test_a_lost_file_is_found(folder: Path, name: str) -> None:
    (folder / "shards" / name).unlink()
    assert kinds(folder) <= {"missing", "index"}
    assert not verify(folder).ok


def test_clips_of_another_autoencoder_are_found(folder: Path, tmp_path: Path) -> None:
    helpers.write(tmp_path / "other", [20], settings=helpers.settings(fingerprint="ffff"), worker="foreign")
    for path in (tmp_path / "other" / "shards").iterdir():
        shutil.copy(path, folder / "shards")
    problems = verify(folder).problems
    assert [(problem.kind, problem.shard) for problem in problems] == [("fingerprint", "foreign-00000")]
    assert "ffff" in problems[0].reason
    assert {problem.kind for problem in verify(tmp_path / "other", fingerprint="0123abcd").problems} == {"fingerprint"}
    assert repair(folder).lost == [helpers.key(20)]
    assert verify(folder).ok


def test_duplicates_are_found_and_dropped(folder: Path) -> None:
    helpers.write(folder, [3, 20], worker="w1")
    problems = verify(folder).problems
    assert [(problem.kind, problem.shard, problem.key) for problem in problems] == [
        ("duplicate", "w1-00000", helpers.key(3))
    ]
    done = repair(folder)
    assert (done.saved, done.lost, done.quarantined) == (1, [], ["w1-00000"])
    assert verify(folder).ok
    assert len(LatentDataset(folder)) == 8


def test_a_clip_whose_index_line_is_gone_is_found(folder: Path) -> None:
    index = folder / "shards" / "w0-00000.index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert kinds(folder) == {"index"}
    lines[1] = lines[1].replace(b'"num_frames":', b'"num_frames":1')
    index.write_bytes(b"".join(lines))
    assert kinds(folder) == {"index"}


@pytest.mark.parametrize("damage", ["flip", "cut", "no index", "no tar", "stats"])
def test_repair_keeps_what_is_whole_and_the_rest_can_be_written_again(folder: Path, good: Path, damage: str) -> None:
    shard = folder / "shards" / "w0-00000.tar"
    entries = [json.loads(line) for line in shard.with_suffix(".index.jsonl").read_text().splitlines()[:-1]]
    if damage == "flip":
        data = bytearray(shard.read_bytes())
        data[entries[1]["segments"][0][2] + 5] ^= 1
        shard.write_bytes(data)
        lost = {entries[1]["key"]}
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[: entries[2]["end"] - 1])
        lost = {entry["key"] for entry in entries[2:]}
    elif damage == "stats":
        (folder / "stats.json").write_text("{}")
        lost = set()
    else:
        path = shard if damage == "no tar" else shard.with_suffix(".index.jsonl")
        path.unlink()
        lost = {entry["key"] for entry in entries}
    before = committed_keys(folder)
    done = repair(folder)
    assert committed_keys(folder) == {helpers.key(number) for number in NUMBERS} - lost
    assert set(done.lost) == lost & before
    assert verify(folder).ok
    assert repair(folder).before.ok
    helpers.write(folder, [number for number in NUMBERS if helpers.key(number) in lost])
    helpers.assert_same(folder, good)
    assert verify(folder).ok
    quarantined = sorted(path.name for path in (folder / "quarantine").glob("*.tar"))
    assert quarantined == ([] if damage in ("stats", "no tar") else ["w0-00000.tar"])


def test_repair_that_was_stopped_is_completed_by_another(
    folder: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidlatent.latents.dataset.folder import LocalFolder

    shard = folder / "shards" / "w0-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-2000])
    move, moves = LocalFolder.move, []

    def once(self: LocalFolder, name: str, to: str) -> None:
        if moves:
            raise KeyboardInterrupt
        moves.append(name)
        move(self, name, to)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "move", once)
        with pytest.raises(KeyboardInterrupt):
            repair(folder)
    assert len(LatentDataset(folder)) == 6  # every whole one, once
    repair(folder)
    assert verify(folder).ok
    helpers.write(folder, [number for number in NUMBERS if helpers.key(number) not in committed_keys(folder)])
    helpers.assert_same(folder, good)


def test_repair_finishes_what_the_dead_left(tmp_path: Path) -> None:
    from vidlatent.latents import DatasetWriter

    writer = DatasetWriter(tmp_path, helpers.settings(), commit_seconds=0)
    writer.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
    assert writer._shard is not None
    writer._shard.abandon()
    assert repair(tmp_path).finished == ["w0-00000"]
    with tarfile.open(tmp_path / "shards" / "w0-00000.tar") as archive:
        assert len(archive.getnames()) == 2
    assert torch.equal(LatentDataset(tmp_path)[0]["latents"], helpers.latents(0).bfloat16())


def test_a_url_is_repaired_too() -> None:
    import fsspec

    url = "memory://repaired/set"
    helpers.write(url, NUMBERS)
    fs = fsspec.filesystem("memory")
    (first, *_) = (path for path in fs.ls("/repaired/set/shards", detail=False) if path.endswith("0.tar"))
    data = bytearray(fs.cat(first))
    data[700] ^= 1
    fs.pipe(first, bytes(data))
    assert [problem.kind for problem in verify(url).problems] == ["changed"]
    done = repair(url)
    assert (len(done.lost), len(done.quarantined)) == (1, 1)
    assert verify(url).ok
    assert len(LatentDataset(url)) == 6


def test_a_line_of_another_version_asks_for_an_upgrade(folder: Path) -> None:
    index = folder / "shards" / "w0-00000.index.jsonl"
    index.write_bytes(pack_line({"key": "a", "start": 0}))
    with pytest.raises(LatentFileError, match="pip install --upgrade"):
        LatentDataset(folder)
