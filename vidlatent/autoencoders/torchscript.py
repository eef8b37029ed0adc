"""The weights in a TorchScript archive (.jit), read without running what is compiled in it.

Such an archive is a zip of a program, `code/`, and of `data.pkl`, a pickle of the module tree whose tensors lie in
`data/`. `torch.jit.load` compiles and may run the program. Here only the tree is unpickled, by an unpickler that knows
tensors, lists and modules as bags of attributes, and refuses every other name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TREE, _PROGRAM = "data.pkl", "constants.pkl"
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether a file is such an archive, whatever its name."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {_TREE, _PROGRAM} <= {Path(name).name for name in archive.namelist()}


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every parameter and buffer by its name. Raises `pickle.UnpicklingError` for a tree that holds anything else."""
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if Path(name).name == _TREE).removesuffix(_TREE)
        tree = _Unpickler(archive, root).load()
    if not isinstance(tree, _Module):
        raise pickle.UnpicklingError(f"expected a module, found {type(tree).__name__}")
    return dict(_tensors(tree, ""))


class _Module:
    """A module of the archive: its attributes, and nothing that could run."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update({str(name): value for name, value in state.items()})


def _tensors(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root + _TREE)))
        self.archive, self.root = archive, root
        self.known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): dict,
            ("torch", "device"): str,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
            **{("torch.jit._pickle", f"build_{kind}list"): list for kind in ("int", "tensor", "double", "bool")},
        }

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the tree stands for: an inert stand-in, a function of this file, or an error."""
        if module.split(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"the archive asks for {module}.{name}, which no module of tensors needs")
        return self.known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of a storage, flat."""
        _, dtype, key, _, count = pid
        numbers = bytearray(self.archive.read(f"{self.root}data/{key}"))
        return torch.frombuffer(numbers, dtype=dtype) if count else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)
