"""Shelves: what is put down comes back bit for bit, from wherever, in whatever order; a broken disk is not silent."""

import contextlib
import errno
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import examples, random_like
from torch import Tensor

from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.shelves import SHELVES, FileShelf, HostShelf

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last_3d),
    "some frames": lambda x: x[:, :, 1:3],
    "some rows, channels last": lambda x: x.to(memory_format=torch.channels_last_3d)[:, :, :, 1:],
    "every other column": lambda x: x[..., ::2],
    "transposed": lambda x: x.transpose(1, 4),
    "expanded": lambda x: x[:, :1].expand(-1, 4, -1, -1, -1),
    "scalar": lambda x: x.sum(),
    "no frames": lambda x: x[:, :, :0],
}


def random(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return random_like(torch.empty(2, 3, 4, 5, 6, dtype=dtype), seed)


def bits(x: Tensor) -> bytes:
    return x.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("kind", SHELVES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_put_down_comes_back(kind: str, layout: str, dtype: torch.dtype) -> None:
    shelf, x = SHELVES[kind](), LAYOUTS[layout](random(dtype=dtype))
    want, dense = x.clone(), torch.empty_like(x)
    kept = shelf.put(x)
    assert (kept.shape, kept.dtype, kept.nbytes) == (x.shape, x.dtype, x.nbytes)
    assert isinstance(kept, Tensor) == (kind == "device" or not x.numel())
    if x.numel():
        x[..., :1].fill_(float("nan")) if x.ndim else x.fill_(float("nan"))  # shelves hold copies
    for answer in (shelf.copy(kept), shelf.copy(kept), shelf.get(kept)):
        assert (answer.shape, answer.dtype) == (want.shape, want.dtype)
        assert answer.stride() == dense.stride() or 0 in x.stride()  # what repeats has no order of its own
        assert bits(answer) == bits(want)
        assert answer.untyped_storage().nbytes() == want.nbytes  # pins nothing else


@pytest.mark.parametrize("kind", SHELVES)
def test_not_a_number_and_signed_zeros_are_bits_like_others(kind: str) -> None:
    shelf, x = SHELVES[kind](), torch.tensor([float("nan"), -0.0, float("-inf"), 1e-45])
    assert bits(shelf.get(shelf.put(x))) == bits(x)


@pytest.mark.parametrize("kind", ["host", "file"])
@examples(60)
@given(steps=st.lists(st.tuples(st.sampled_from("ppgpgc"), st.integers(0, 10**6)), max_size=40))
def test_any_order_of_putting_and_getting(kind: str, steps: list[tuple[str, int]]) -> None:
    shelf, held = SHELVES[kind](), []
    for action, draw in steps:
        if action == "p":
            x = torch.full((1 + draw % 3, 2), float(draw))  # few sizes, so that places are used again
            held.append((shelf.put(x), x.clone()))
            x.fill_(-1)
        elif held and action == "g":
            kept, want = held.pop(draw % len(held))
            got = shelf.get(kept)
            assert torch.equal(got, want)
            got.fill_(-2)  # whoever has taken it up may write into it
        elif held:
            kept, want = held[draw % len(held)]
            shelf.copy(kept).sub_(want).fill_(-3)
    for kept, want in held:
        assert torch.equal(shelf.get(kept), want)


@pytest.mark.parametrize("kind", ["host", "file"])
def test_one_ahead_is_read_before_its_place_is_used_again(kind: str) -> None:
    shelf = SHELVES[kind]()
    kept = [shelf.put(torch.full((100,), float(i))) for i in range(4)]
    assert shelf.get(kept[0]).unique().tolist() == [0]  # begins to read the second
    later = [shelf.put(torch.full((100,), float(i))) for i in (10, 11)]  # of the same size
    assert shelf.get(kept[2]).unique().tolist() == [2]  # passes by the second
    assert shelf.copy(kept[1]).unique().tolist() == [1]
    assert [shelf.get(k).unique().tolist() for k in (kept[1], later[1], kept[3], later[0])] == [[1], [11], [3], [10]]


@pytest.mark.parametrize("kind", ["host", "file"])
def test_counting_on_meta_tensors_stores_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = SHELVES[kind]()
    monkeypatch.setattr(shelf, "_store", lambda x: pytest.fail("stored"))
    kept = shelf.put(torch.empty(2, 3, device="meta"))
    assert isinstance(kept, Kept)
    assert (kept.nbytes, shelf.copy(kept).shape, shelf.get(kept).device.type) == (24, (2, 3), "meta")


def file_size(shelf: FileShelf) -> int:
    return os.fstat(shelf._file.fileno()).st_size


def test_a_file_is_as_long_as_what_it_held_at_most() -> None:
    shelf, sizes = FileShelf(), (100, 300, 200)
    for step in range(30):
        kept = [shelf.put(torch.full((size,), float(step))) for size in sizes]
        assert [shelf.get(k).unique().tolist() for k in kept] == [[step]] * 3
    assert file_size(shelf) == 4 * sum(sizes)


def test_host_buffers_are_used_again() -> None:
    shelf, places = HostShelf(), set()
    for step in range(10):
        kept = shelf.put(torch.full((64,), float(step)))
        places.add(kept.place.data_ptr())
        assert shelf.get(kept).unique().tolist() == [step]
    assert len(places) == 1


def test_a_write_in_parts_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, view, offset: write(file, view[:7], offset))
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: read(file, [views[0][:5]], offset))
    shelf, x = FileShelf(), random()
    kept = [shelf.put(x), shelf.put(x + 1)]
    assert [bits(shelf.get(k)) for k in kept] == [bits(x), bits(x + 1)]


def full_disk(*arguments: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, before = FileShelf(), random(1)
    kept = shelf.put(before)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full_disk)
        with pytest.raises(OSError, match="No space left"):
            shelf.put(random(2))
    assert torch.equal(shelf.get(kept), before)


def test_a_shortened_file_is_noticed() -> None:
    shelf = FileShelf()
    kept = shelf.put(random())
    shelf.copy(kept)
    os.ftruncate(shelf._file.fileno(), 8)
    with pytest.raises(OSError, match="shorter than what was written"):
        shelf.get(kept)


def test_an_abandoned_file_shelf_closes_its_file() -> None:
    shelf = FileShelf()
    shelf.get(shelf.put(random()))
    inode = os.fstat(shelf._file.fileno()).st_ino
    del shelf
    assert inode not in open_files()


@pytest.mark.parametrize("kind", SHELVES)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("scalar", "no frames")])
@pytest.mark.parametrize("axis", [2, 3])
def test_joining_is_getting_and_concatenating(kind: str, layout: str, axis: int) -> None:
    shelf, x = SHELVES[kind](), LAYOUTS[layout](random())
    more = LAYOUTS[layout](random(1)).narrow(axis, 0, 1)
    want, kept, later = torch.cat([x, more], axis), shelf.put(x), shelf.put(more)
    got = shelf.join(kept, more, axis)
    assert bits(got) == bits(want)
    assert got.stride() == want.stride() or layout in ("transposed", "expanded")  # an order that cat does not keep
    assert bits(shelf.get(later)) == bits(more)


def open_files() -> set[int]:
    """Inodes of the files that this process has open."""
    found = set()
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            found.add(os.fstat(descriptor).st_ino)
    return found
