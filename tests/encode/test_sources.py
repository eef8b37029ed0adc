"""Rows of folders, tables, shards and Hugging Face folders: files, spans, captions, columns; and their bytes."""

import io
import json
import tarfile
from fractions import Fraction
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlatent.encode.sources import ClipRow, fetch, open_source
from vidlatent.encode.sources.shards import brace_expand
from vidlatent.errors import InputError, VideoError
from vidlatent.latents import content_hash


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def names(rows: list[ClipRow]) -> list[str]:
    return [Path(row.name).name for row in rows]


def test_a_folder_is_searched_below_and_text_beside_a_video_is_its_caption(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "sub/a.WEBM", "c.png", "notes.md", ".hidden/d.mp4")
    (tmp_path / "b.txt").write_text(" a boat \n")
    (tmp_path / "c.json").write_text(json.dumps({"text": "a cat", "start": 0, "score": 0.5, "cuts": [1, 2.5]}))
    rows = list(open_source(tmp_path))
    assert names(rows) == ["b.mp4", "c.png", "a.WEBM"]
    assert rows[0].caption == "a boat"
    assert (rows[1].caption, rows[1].columns, rows[1].cuts) == ("a cat", {"score": 0.5}, (1, Fraction(5, 2)))
    assert open_source(tmp_path).num_rows == 3


def test_globs_single_files_and_file_urls(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mkv", "sub/c.mp4")
    assert names(list(open_source(tmp_path / "*.mp4"))) == ["a.mp4"]
    assert names(list(open_source(tmp_path / "**/*.mp4"))) == ["a.mp4", "c.mp4"]
    assert names(list(open_source(tmp_path / "b.mkv"))) == ["b.mkv"]
    assert names(list(open_source(f"file://{tmp_path}/b.mkv"))) == ["b.mkv"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_name_files_spans_captions_and_keep_the_rest(tmp_path: Path, kind: str) -> None:
    touch(tmp_path, "clips/a.mp4", "clips/b.mp4")
    records = [
        {"video": "clips/a.mp4", "start": "0:01.1", "end": "2.5", "caption": 'said "hi", left', "label": "x"},
        {"video": str(tmp_path / "clips/b.mp4"), "start": "", "end": "", "caption": "", "label": "y"},
    ]
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(records)
    a, b = open_source(path)
    assert (a.start, a.stop) == (Fraction(11, 10), Fraction(5, 2))
    assert (a.caption, a.columns) == ('said "hi", left', {"label": "x"})
    assert (b.start, b.stop, b.columns, b.uri) == (None, None, {"label": "y"}, str(tmp_path / "clips/b.mp4"))
    assert a.digest != b.digest


def test_rows_that_cannot_be_used_say_so_and_tables_that_cannot_are_errors(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    lines = ('{"path": "a.mp4", "start": 3, "stop": 2}', '{"path": "gone.mp4"}', '{"path": ""}')
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    problems = [row.problem for row in open_source(tmp_path / "list.jsonl")]
    assert ["stops at 2 s" in problems[0], problems[1], "names no file" in problems[2]] == [True, "no such file", True]
    (tmp_path / "bad.csv").write_text("name,caption\na.mp4,x\n")
    with pytest.raises(InputError, match=r"no column path .* among name, caption"):
        list(open_source(tmp_path / "bad.csv"))
    assert names(list(open_source(tmp_path / "bad.csv", path_column="name"))) == ["a.mp4"]
    (tmp_path / "torn.jsonl").write_text('{"path": "a.mp4"}\n{"pa')
    with pytest.raises(InputError, match="line 2 is not JSON"):
        list(open_source(tmp_path / "torn.jsonl"))
    for nothing in ("nowhere", "*.webm", "bad.csv/x"):
        with pytest.raises(InputError, match="there is nothing here"):
            open_source(tmp_path / nothing)


def make_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in [("s/1.mp4", b"one"), ("s/1.txt", b"first"), ("s/2.json", b'{"caption": "second", "n": 2}')]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("s/2.mkv")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"two!"))
    return path


def test_tar_shards_are_read_in_place(tmp_path: Path) -> None:
    make_tar(tmp_path / "a-000.tar")
    make_tar(tmp_path / "a-001.tar")
    rows = list(open_source(tmp_path / "a-{000..001}.tar"))
    assert [row.caption for row in rows] == ["first", "second"] * 2
    assert rows[1].columns == {"n": 2}
    fetched = fetch(rows[1], tmp_path)
    assert fetched.path.read_bytes() == b"two!"
    assert fetched.path.suffix == ".mkv"
    assert fetched.sha256 == content_hash(fetched.path)
    fetched.drop()
    assert not fetched.path.exists()
    (tmp_path / "a-002.tar").write_bytes((tmp_path / "a-000.tar").read_bytes()[:1400])
    assert "not all of this tar" in list(open_source(tmp_path / "a-002.tar"))[-1].problem


def test_brace_patterns() -> None:
    assert brace_expand("x-{008..010}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar"]
    assert brace_expand("{a,b}-{0..1}") == ["a-0", "a-1", "b-0", "b-1"]
    assert brace_expand("plain") == ["plain"]


def test_hugging_face_folders_and_tables_with_videos_in_them(tmp_path: Path) -> None:
    folder = touch(tmp_path / "hf", "train/a.mp4", "train/b.mp4")
    (folder / "train/metadata.csv").write_text("file_name,text\na.mp4,a dog\n")
    (row,) = open_source(folder)
    assert (names([row]), row.caption) == (["a.mp4"], "a dog")

    records = [{"video": {"bytes": bytes([i]) * 9, "path": f"{i}.mp4"}, "caption": str(i)} for i in range(5)]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "inside.parquet", row_group_size=2)
    rows = list(open_source(tmp_path / "inside.parquet"))
    assert [row.caption for row in rows] == list("01234")
    fetched = fetch(rows[3], tmp_path)
    assert (fetched.path.read_bytes(), fetched.path.suffix) == (bytes([3]) * 9, ".mp4")

    saved = tmp_path / "saved"
    saved.mkdir()
    table = pa.Table.from_pylist([{"video": b"raw", "caption": "x"}])
    with pa.OSFile(str(saved / "data-00000.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (row,) = open_source(saved)
    assert fetch(row, tmp_path).path.read_bytes() == b"raw"


def test_urls_by_fsspec(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/clips/a.mp4": b"aa", "/clips/b.mp4": b"bb", "/clips/a.txt": b"hello"})
    memory.pipe("/list.csv", b"path\nclips/b.mp4\n")
    try:
        a, b = open_source("memory://clips")
        assert (a.caption, b.caption) == ("hello", None)
        (row,) = open_source("memory://list.csv")
        fetched = fetch(row, tmp_path)
        assert (fetched.path.read_bytes(), fetched.temporary) == (b"bb", True)
        memory.rm("/clips/b.mp4")
        with pytest.raises(VideoError, match=r"clips/b\.mp4"):
            fetch(b, tmp_path)
        assert not [path for path in tmp_path.iterdir() if path != fetched.path]
    finally:
        memory.rm("/", recursive=True)


def test_a_row_is_new_when_its_file_is(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (before,) = open_source(tmp_path)
    (again,) = open_source(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"other content")
    (after,) = open_source(tmp_path)
    assert before.digest == again.digest != after.digest
