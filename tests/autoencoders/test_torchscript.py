"""Weights come out of compiled archives as they went in, and nothing in an archive runs."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vidlatent.autoencoders.tensor_files import read_tensor_file
from vidlatent.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")  # archives are still there


class Sample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(4, 4, dtype=torch.bfloat16))
        self.register_buffer("counts", torch.arange(12).view(3, 4).T)
        self.sizes, self.name = [1, 2], "sample"

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x)


@pytest.mark.parametrize("way", ["scripted", "traced"])
@pytest.mark.parametrize("file", ["model.jit", "model.pt"])
def test_every_tensor_comes_back(way: str, file: str, tmp_path: Path) -> None:
    model = Sample().eval()
    compiled = torch.jit.script(model) if way == "scripted" else torch.jit.trace(model, torch.ones(1, 2, 4, 4))
    compiled.save(tmp_path / file)
    got = read_tensor_file(tmp_path / file).tensors
    assert got.keys() == model.state_dict().keys()
    for name, want in model.state_dict().items():
        assert got[name].dtype == want.dtype
        assert torch.equal(got[name], want)


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def with_tree(source: Path, target: Path, tree: bytes) -> None:
    """The archive `source` with another module tree in it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, tree if name.endswith("data.pkl") else old.read(name))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (lambda marker: pickle.dumps(Evil(f"touch {marker}")), "refused: it holds more than tensors"),
        (lambda _: pickle.dumps(nn.Linear(1, 1)), "refused: it holds more than tensors"),
        (lambda _: pickle.dumps([1, 2]), "refused"),
        (lambda _: b"\x80\x02", "torn|refused"),
    ],
)
def test_other_trees_are_refused_and_run_nothing(tree: object, said: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.jit.script(Sample()).save(tmp_path / "model.jit")
    with_tree(tmp_path / "model.jit", tmp_path / "other.jit", tree(marker))
    with pytest.raises(ModelError, match=said):
        read_tensor_file(tmp_path / "other.jit")
    assert not marker.exists()


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    torch.jit.script(Sample()).save(tmp_path / "model.jit")
    whole = (tmp_path / "model.jit").read_bytes()
    (tmp_path / "model.jit").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model.jit: (torn|refused)"):
        read_tensor_file(tmp_path / "model.jit")
