"""Torn, cut, changed and foreign files: each is refused with one line that says what is wrong."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_helpers import latents, meta, times, write
from safetensors.torch import save_file

from vidlatent.errors import LatentFileError
from vidlatent.latents import LatentWriter, open_latents

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    return write(tmp_path / "good.safetensors", [latents()], [times()]).read_bytes()


def test_an_error_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"precious")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            _fail_half_way(target, error)
        assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
        assert target.read_bytes() == b"precious"


def _fail_half_way(target: Path, error: type[BaseException]) -> None:
    with LatentWriter(target, meta=meta()) as writer:
        writer.append(latents(), pts_seconds=times())
        assert len(list(target.parent.iterdir())) == 2
        raise error


def test_until_it_is_finished_no_reader_takes_it(tmp_path: Path) -> None:
    with LatentWriter(tmp_path / "a.safetensors", meta=meta()) as writer:
        writer.append(latents().repeat(50, 1, 1, 1), pts_seconds=times())
        (partial,) = tmp_path.iterdir()
        with pytest.raises(LatentFileError, match="never finished"):
            open_latents(partial)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, dtype: str) -> None:
    writer = LatentWriter(tmp_path / "a.safetensors", meta=meta(dtype=dtype))
    writer._partial.path = Path("/dev/full")
    if not writer._partial.path.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(LatentFileError, match=r"a\.safetensors: cannot be written: No space"):
        writer.append(latents().repeat(500, 1, 1, 1), pts_seconds=times())
    writer._partial.path = tmp_path / "none"
    writer.abort()


def test_truncation_at_every_offset_is_detected(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "cut.safetensors"
    header = 8 + struct.unpack("<Q", good[:8])[0]
    offsets = {0, 1, 7, 8, 9, header - 1, header, header + 1, *range(0, len(good), 97), len(good) - 8, len(good) - 1}
    for offset in sorted(offsets):
        path.write_bytes(good[:offset])
        with pytest.raises(LatentFileError, match=r"cut off|never finished"):
            open_latents(path)


def test_bytes_after_the_end_are_detected(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(good + b"\0")
    with pytest.raises(LatentFileError, match="1 bytes too long"):
        open_latents(path)


@quick
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_is_detected(tmp_path: Path, good: bytes, place: int, bit: int) -> None:
    changed = bytearray(good)
    changed[place % len(good)] ^= 1 << bit
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(changed)
    with pytest.raises(LatentFileError), open_latents(path) as clip:
        clip.verify()


@quick
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_is_detected_at_once(tmp_path: Path, good: bytes, place: int, bit: int) -> None:
    text_length = len(good[8 : 8 + struct.unpack("<Q", good[:8])[0]].rstrip())
    changed = bytearray(good)
    changed[8 + place % text_length] ^= 1 << bit
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(changed)
    with pytest.raises(LatentFileError):
        open_latents(path)


def test_foreign_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3), "bias": torch.zeros(2)}, path)
    with pytest.raises(
        LatentFileError, match=r"not latents written by vidlatent: it holds (weight, bias|bias, weight)"
    ):
        open_latents(path)
    for content in (b"", b"hello, this is text and no header", bytes(5000), b"\x10" + bytes(7) + b"[1, 2, 3, 4, 5] "):
        path.write_bytes(content)
        with pytest.raises(LatentFileError, match=r"not a latent file|safetensors"):
            open_latents(path)


def test_a_later_format_asks_for_an_upgrade(tmp_path: Path, good: bytes) -> None:
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    header["__metadata__"]["vidlatent_format"] = "2"
    text = json.dumps(header).encode().ljust(length)
    path = tmp_path / "later.safetensors"
    path.write_bytes(good[:8] + text + good[8 + length :])
    with pytest.raises(LatentFileError, match="pip install --upgrade vidlatent"):
        open_latents(path)
