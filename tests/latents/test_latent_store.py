"""One clip's latents on disk: what is written is what is read, whatever the partition and the window."""

import pickle
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_helpers import latents, meta, times, write
from safetensors import safe_open
from safetensors.torch import load_file

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents import ClipSource, LatentWriter, open_latents

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_round_trip_of_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", [latents()], [times()], dtype="float32")
    with open_latents(path) as clip:
        torch.testing.assert_close(clip.read(), latents(), rtol=0, atol=0)
        assert clip.times() == tuple(times())
        assert (len(clip), clip.shape) == (7, (7, 3, 5, 7))
        clip.verify()
        given = meta(dtype="float32")
        for name in ("model", "fingerprint", "size", "fps", "source", "kind", "dtype", "latent_spec"):
            assert getattr(clip.meta, name) == getattr(given, name), name
        assert clip.meta.num_frames == 25
        assert clip.meta.time_base == Fraction(1, 30000)


def test_plain_safetensors_reads_it_without_us(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", [latents()], [times()])
    tensors = load_file(path)
    assert set(tensors) == {"mean", "pts"}
    torch.testing.assert_close(tensors["mean"], latents().half(), rtol=0, atol=0)
    assert tensors["pts"].tolist() == [1001 * k for k in range(25)]
    with safe_open(path, "pt") as file:
        assert file.metadata()["fps"] == "30000/1001"
        assert file.metadata()["time_base"] == "1/30000"
        torch.testing.assert_close(file.get_slice("mean")[2:4], latents()[2:4].half(), rtol=0, atol=0)


@quick
@given(cuts=st.lists(st.integers(0, 7), max_size=5), time_cuts=st.lists(st.integers(0, 25), max_size=4))
def test_any_partition_of_appends_gives_the_same_bytes(tmp_path: Path, cuts: list[int], time_cuts: list[int]) -> None:
    whole = write(tmp_path / "whole.safetensors", [latents()], [times()]).read_bytes()
    edges, time_edges = sorted([0, *cuts, 7]), sorted([0, *time_cuts, 25])
    slabs = [latents()[a:b] for a, b in pairwise(edges)]
    # As (t, C, h, w) or as the encoder gives them, (1, C, t, h, w).
    slabs = [s.transpose(0, 1)[None] if i % 2 else s for i, s in enumerate(slabs)]
    parts = [times()[a:b] for a, b in pairwise(time_edges)]
    assert write(tmp_path / "parts.safetensors", slabs, parts).read_bytes() == whole


@quick
@given(start=st.integers(0, 7), length=st.integers(0, 7), dtype=st.sampled_from(["float16", "bfloat16", "float32"]))
def test_any_window_is_that_slice(tmp_path: Path, start: int, length: int, dtype: str) -> None:
    stop = min(7, start + length)
    with open_latents(write(tmp_path / "a.safetensors", [latents()], [times()], dtype=dtype)) as clip:
        expected = latents()[start:stop].to(getattr(torch, dtype))
        torch.testing.assert_close(clip.read(start, stop), expected, rtol=0, atol=0)
        assert clip.times(start, stop) == tuple(times()[start:stop])


@pytest.mark.parametrize("window", [(-1, 3), (0, 8), (5, 4)])
def test_window_outside_the_clip(tmp_path: Path, window: tuple[int, int]) -> None:
    clip = open_latents(write(tmp_path / "a.safetensors", [latents()], [times()]))
    with clip, pytest.raises(InputError, match=r"it has \[0, 7\)"):
        clip.read(*window)


def test_moments_keep_both_halves(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", [latents().repeat(1, 2, 1, 1)], [times()], kind="moments")
    assert set(load_file(path)) == {"moments", "pts"}
    with open_latents(path) as clip:
        assert clip.shape == (7, 6, 5, 7)


def test_times_without_a_common_denominator_stay_exact(tmp_path: Path) -> None:
    seconds = [Fraction(0), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 7), Fraction(1, 2)]
    with open_latents(write(tmp_path / "a.safetensors", [latents()], [[s] for s in seconds])) as clip:
        assert clip.times() == tuple(seconds)


def test_times_that_cannot_be_kept(tmp_path: Path) -> None:
    with LatentWriter(tmp_path / "a.safetensors", meta=meta()) as writer:
        writer.append(latents(), pts_seconds=[Fraction(1)])
        with pytest.raises(InputError, match="go back"):
            writer.append(pts_seconds=[Fraction(1, 2)])
        with pytest.raises(InputError, match="64 bits"):
            writer.append(pts_seconds=[Fraction(2**65 + 1, 2**64)])
        writer.append(pts_seconds=[Fraction(2)])  # what was refused left nothing behind
    with open_latents(tmp_path / "a.safetensors") as clip:
        assert clip.times() == (1, 2)


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wide, holes = latents(), latents()
    wide[3, 0, 0, 0], holes[2, 1, 1, 1] = 1e6, float("nan")
    for values, reason in ((wide, "too large for float16"), (holes, "NaN")):
        with pytest.raises(InputError, match=reason):
            write(tmp_path / "a.safetensors", [values], [times()])
    write(tmp_path / "b.safetensors", [wide], [times()], dtype="bfloat16")
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    for slab in (latents()[:, :2], latents().int(), latents()[0], latents().expand(2, 7, 3, 5, 7)):
        with pytest.raises(InputError, match="latents are"):
            write(tmp_path / "a.safetensors", [slab], [times()])
    with pytest.raises(InputError, match="latent frames were"):
        write(tmp_path / "a.safetensors", [latents(), latents()[..., :5]], [times()])
    with pytest.raises(InputError, match="no latents"):
        write(tmp_path / "a.safetensors", [], [times()])
    with pytest.raises(InputError, match="no frame times"):
        write(tmp_path / "a.safetensors", [latents()], [])
    assert not list(tmp_path.iterdir())


def test_long_names_fit_the_header(tmp_path: Path) -> None:
    uri = "/" + "ü\\\"'" * 1000 + "\udcff"
    source = ClipSource(uri=uri, sha256="0" * 64)
    path = write(tmp_path / "a.safetensors", [latents()], [times()], source=source)
    assert load_file(path)["mean"].shape == (7, 3, 5, 7)
    with open_latents(path) as clip:
        assert clip.meta.source.uri[:-1] == uri[:-1]


def test_threads_and_pickled_copies_read_alike(tmp_path: Path) -> None:
    clip = open_latents(write(tmp_path / "a.safetensors", [latents(50)], [times(197)], dtype="float32"))
    copy = pickle.loads(pickle.dumps(clip))
    wrong: list[int] = []

    def read_often(which: int) -> None:
        reader = clip if which else copy
        for index in range(200):
            at = (index * 7 + which) % 50
            if not torch.equal(reader.read(at, at + 1), latents(50)[at : at + 1]):
                wrong.append(at)

    threads = [threading.Thread(target=read_often, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clip.close()
    copy.close()
    assert not wrong


def test_a_clip_inside_an_archive(tmp_path: Path) -> None:
    from vidlatent.latents import LatentClip

    inner = write(tmp_path / "a.safetensors", [latents()], [times()]).read_bytes()
    archive = tmp_path / "shard.tar"
    archive.write_bytes(b"x" * 513 + inner + b"y" * 100)
    with LatentClip(archive, offset=513, num_bytes=len(inner)) as clip:
        clip.verify()
        torch.testing.assert_close(clip.read(2, 5), latents()[2:5].half(), rtol=0, atol=0)


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(LatentFileError, match="does not exist"):
        LatentWriter(tmp_path / "none" / "a.safetensors", meta=meta())
    with pytest.raises(LatentFileError, match="folder has this name"):
        LatentWriter(tmp_path, meta=meta())
    with pytest.raises(LatentFileError, match="no such file"):
        open_latents(tmp_path / "none.safetensors")
    with pytest.raises(LatentFileError, match="a folder"):
        open_latents(tmp_path)
