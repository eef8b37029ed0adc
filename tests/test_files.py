"""Files that appear whole or not at all."""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidlatent.files import PartialFile, write_tensors, write_text


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with PartialFile(path, durable=durable) as partial:
        partial.write_text("new")
        assert partial.suffix == ".txt"
        assert partial.name.startswith(".")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("written", [False, True])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, written: bool) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with PartialFile(tmp_path / "a.txt") as partial:
            if written:
                partial.write_text("half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    child = os.fork()
    if not child:
        with PartialFile(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "a.txt").read_text() == "old"
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_nothing_is_made_where_it_cannot_be_renamed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "a.txt", "a folder is in the way")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_tensors_are_replaced_beneath_who_maps_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.safetensors"
    write_tensors(path, {"a": torch.arange(6.0).view(2, 3).T}, {"made": "here"})
    before = load_file(path)
    write_tensors(path, {"a": torch.zeros(1)}, {})
    assert torch.equal(before["a"], torch.arange(6.0).view(2, 3).T)
    assert torch.equal(load_file(path)["a"], torch.zeros(1))
    assert path.stat().st_mode & 0o777 == 0o644
