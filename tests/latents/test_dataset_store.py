"""A dataset on disk: what is written is what is read, by us and by others, whoever wrote it and wherever it lies."""

import gc
import json
import tarfile
import uuid
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import dataset_helpers as helpers
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from torch import Tensor

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents import (
    ClipMeta,
    DatasetWriter,
    LatentClip,
    LatentDataset,
    committed_keys,
    content_key,
    open_latents,
)
from vidlatent.latents.dataset import payload, tar
from vidlatent.latents.values import as_read

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
@pytest.mark.parametrize("kind", ["mean", "moments"])
def test_round_trip(tmp_path: Path, kind: str, dtype: str) -> None:
    chosen = helpers.settings(kind=kind, dtype=dtype)
    helpers.write(tmp_path, range(6), settings=chosen)
    dataset = open_latents(tmp_path, posterior="moments" if kind == "moments" else "mode")
    assert isinstance(dataset, LatentDataset)
    assert len(dataset) == 6
    assert dataset.settings == chosen.from_json(chosen.to_json(), name="")
    for number in range(6):
        i = dataset.find(helpers.key(number))
        count = helpers.frames_of(number)
        given_ = helpers.latents(number, count, channels=chosen.stored_channels)
        expected = torch.cat([as_read(segment, dtype) for segment in given_.split(5)])
        assert torch.equal(dataset[i]["latents"], expected)
        assert dataset[i]["caption"] == f"clip {number}"
        assert dataset.meta(i) == helpers.meta(number, count)
        assert dataset.shape(i) == tuple(given_.shape)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    folder = tmp_path_factory.mktemp("stored")
    helpers.write(folder, range(9), settings=helpers.settings(dtype="float32"))
    return LatentDataset(folder)


@quick
@given(number=st.integers(0, 8), start=st.integers(0, 12), length=st.integers(0, 12))
def test_any_window_is_that_slice(stored: LatentDataset, number: int, start: int, length: int) -> None:
    total = helpers.frames_of(number)
    i = stored.find(helpers.key(number))
    if start + length > total:
        with pytest.raises(InputError, match=rf"it has \[0, {total}\)"):
            stored.window(i, start, length)
    else:
        expected = helpers.latents(number, total)[start : start + length]
        assert torch.equal(stored.window(i, start, length), expected)
        assert torch.equal(stored.window(i - len(stored), start, length), expected)


def test_spans_of_seconds(stored: LatentDataset) -> None:
    """25 frames at 30000/1001 in 7 latent frames: 0; 1 to 4; 5 to 8; ..."""
    i = stored.find(helpers.key(0))
    at = [Fraction(1001 * frame, 30000) for frame in range(25)]
    assert stored.span(i, 0, 100) == (0, 7)
    assert stored.span(i, 0, at[1]) == (0, 1)
    assert stored.span(i, at[1], at[5]) == (1, 1)
    assert stored.span(i, at[4], at[5] + Fraction(1, 10**9)) == (1, 2)
    assert stored.span(i, at[24], 100) == (6, 1)
    assert stored.span(i, 100, 200) == (0, 0)
    assert len(stored.window(i, *stored.span(i, 100, 200))) == 0


def test_windows_are_read_where_they_are_to_lie(stored: LatentDataset) -> None:
    i, j = stored.find(helpers.key(2)), stored.find(helpers.key(1))
    out = torch.zeros(3, 6, 3, 5, 7)
    stored.read([(i, 3), (i, 0)], out[1:])
    assert torch.equal(out[1], helpers.latents(2, 12)[3:9])
    assert torch.equal(out[2], helpers.latents(2, 12)[:6])
    assert not out[0].any()
    two = [(i, 3), (i, 0)]
    for wrong in (out, out[1:].half(), out[1:].transpose(3, 4), out[1:, :, :2]):
        with pytest.raises(InputError, match=r"windows are read into|clip .* has latents of"):
            stored.read(two, wrong)
    with pytest.raises(InputError, match=rf"clip {j}: asked for latent frames \[9, 15\)"):
        stored.read([(i, 0), (j, 9)], out[1:])


@quick
@given(cuts=st.lists(st.integers(0, 12), max_size=5))
def test_any_partition_of_pieces_gives_the_same_bytes(tmp_path: Path, cuts: list[int]) -> None:
    edges = sorted([0, *cuts, 12])
    pieces = [helpers.latents(2, 12)[a:b] for a, b in pairwise(edges)]
    # As (t, C, h, w) or as the encoder gives them, (1, C, t, h, w).
    pieces = [piece.transpose(0, 1)[None] if i % 2 else piece for i, piece in enumerate(pieces)]
    folders = [tmp_path / uuid.uuid4().hex for _ in range(2)]
    for folder, given_ in zip(folders, (helpers.latents(2, 12), iter(pieces)), strict=True):
        with DatasetWriter(folder, helpers.settings(), segment_frames=5) as writer:
            writer.add(helpers.key(2), given_, lambda: helpers.meta(2, 12))
    whole, parts = ({p.name: p.read_bytes() for p in (folder / "shards").iterdir()} for folder in folders)
    assert whole == parts


def test_a_long_clip_goes_to_disk_while_it_comes(tmp_path: Path) -> None:
    sizes = []

    def pieces() -> Iterator[Tensor]:
        for _ in range(100):
            yield torch.ones(1, 3, 5, 7)
            sizes.append((tmp_path / "shards" / "w0-00000.tar.part").stat().st_size)

    with DatasetWriter(tmp_path, helpers.settings(), segment_frames=5) as writer:
        writer.add("long", pieces(), helpers.meta(0, 100))
    steps = [b - a for a, b in pairwise(sizes)]
    assert max(steps) < 3000  # one segment, its header and its padding
    assert sum(step > 0 for step in steps) == 19
    assert len(LatentDataset(tmp_path).columns.frames) == 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_and_tar_read_it_without_us(tmp_path: Path) -> None:
    import webdataset

    helpers.write(tmp_path, range(6))
    shards = sorted(map(str, (tmp_path / "shards").glob("*.tar")))
    assert len(shards) == 2
    samples = {sample["__key__"]: sample for sample in webdataset.WebDataset(shards, shardshuffle=False)}
    gc.collect()  # webdataset leaves its files to be closed by this, with a warning
    assert set(samples) == {helpers.key(number) for number in range(6)}
    sample = samples[helpers.key(2)]
    names = ["latent.safetensors", "latent.001.safetensors", "latent.002.safetensors"]
    joined = torch.cat([load(sample[name])["mean"] for name in names])
    assert torch.equal(joined, helpers.latents(2, 12).bfloat16())
    description = json.loads(sample["json"])
    assert description["caption"] == "clip 2"
    assert description["pts"][:3] == [0, 1001, 2002]
    assert description["time_base"] == "1/30000"
    with tarfile.open(shards[0]) as archive:
        assert all(member.isreg() and member.mtime == 0 for member in archive)


def test_int8_is_read_by_the_formula_in_the_docs(tmp_path: Path) -> None:
    helpers.write(tmp_path, [1], settings=helpers.settings(dtype="int8"))
    with tarfile.open(tmp_path / "shards" / "w0-00000.tar") as archive:
        member = archive.extractfile(f"{helpers.key(1)}.latent.safetensors")
        assert member is not None
        tensors = load(member.read())
    column = {name: tensors[name].view(1, -1, 1, 1) for name in ("scale", "offset")}
    values = tensors["mean"].float() * column["scale"] + column["offset"]
    torch.testing.assert_close(values, LatentDataset(tmp_path)[0]["latents"], rtol=1e-6, atol=1e-6)
    assert (values - helpers.latents(1, 3)).abs().max() <= tensors["scale"].max() / 2 + 1e-5


@pytest.mark.parametrize("where", ["memory", "file"])
def test_urls(tmp_path: Path, where: str) -> None:
    url = f"memory://{uuid.uuid4().hex}/set" if where == "memory" else f"file://{tmp_path}/set"
    helpers.write(tmp_path / "local", range(7))
    helpers.write(url, range(4))
    helpers.write(url, range(4, 7), worker="w1")
    assert committed_keys(url) == {helpers.key(number) for number in range(7)}
    helpers.assert_same(url, tmp_path / "local")
    with pytest.raises(LatentFileError, match="not a latent dataset"):
        open_latents(f"{url}/none")


def test_at_a_url_clips_count_when_their_shard_is_there() -> None:
    url = f"memory://{uuid.uuid4().hex}/set"
    with DatasetWriter(url, helpers.settings(), commit_seconds=0) as writer:
        writer.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
        assert committed_keys(url) == set()
        writer.commit()
        assert committed_keys(url) == {helpers.key(0)}
        writer.add(helpers.key(1), helpers.latents(1), helpers.meta(1))
    assert len(LatentDataset(url)) == 2


def test_workers_share_a_folder_and_order_does_not_matter(tmp_path: Path) -> None:
    helpers.write(tmp_path / "one", range(8))
    for number in range(4):
        helpers.write(tmp_path / "four", [7 - number, number], worker=f"rank-{3 - number}", stats=False)
    helpers.assert_same(tmp_path / "one", tmp_path / "four")
    assert LatentDataset(tmp_path / "four").keys == sorted(helpers.key(number) for number in range(8))


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    with (
        DatasetWriter(tmp_path, helpers.settings()) as one,
        DatasetWriter(tmp_path, helpers.settings()) as other,
    ):
        for number, writer in enumerate((one, other, one, other)):
            writer.add(helpers.key(number), helpers.latents(number), helpers.meta(number))
    assert len(LatentDataset(tmp_path)) == 4
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 2


def test_a_key_counts_once(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, helpers.settings(dtype="float32"), worker="b") as writer:
        assert writer.add("twice", helpers.latents(1), helpers.meta(1))
        assert not writer.add("twice", helpers.latents(2), helpers.meta(2))
    with DatasetWriter(tmp_path, helpers.settings(dtype="float32"), worker="a") as writer:
        assert writer.add("twice", helpers.latents(0), helpers.meta(0))
        assert writer.add("once", helpers.latents(3), helpers.meta(3))
    dataset = LatentDataset(tmp_path)
    assert len(dataset) == 2
    assert torch.equal(dataset[dataset.find("twice")]["latents"], helpers.latents(0))  # the first by name of the shard
    values = torch.cat([helpers.latents(0), helpers.latents(3)]).double()
    torch.testing.assert_close(dataset.stats.mean, values.mean((0, 2, 3)))
    assert dataset.stats.count == 2 * 7 * 5 * 7


def test_what_is_committed_is_seen_while_writing_goes_on(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, helpers.settings(), commit_seconds=1e9) as writer:
        writer.add(helpers.key(0), helpers.latents(0), helpers.meta(0))
        assert committed_keys(tmp_path) == set()
        writer.commit()
        writer.add(helpers.key(1), helpers.latents(1), helpers.meta(1))
        assert committed_keys(tmp_path) == {helpers.key(0)}
        early = LatentDataset(tmp_path)
        assert torch.equal(early[0]["latents"], helpers.latents(0).bfloat16())
        assert early.stats.count == 7 * 5 * 7
        fresh = LatentDataset(tmp_path)
    assert torch.equal(early[0]["latents"], helpers.latents(0).bfloat16())
    assert torch.equal(fresh[0]["latents"], helpers.latents(0).bfloat16())  # the shard has its last name by now
    assert len(LatentDataset(tmp_path)) == 2


def test_other_settings_are_refused_and_every_difference_is_named(tmp_path: Path) -> None:
    helpers.write(tmp_path, [0])
    other = helpers.settings(fingerprint="ffff", dtype="int8", recipe={"size": [33, 50], "fps": 24}, model="other-name")
    with pytest.raises(LatentFileError) as caught:
        DatasetWriter(tmp_path, other)
    for part in ('fingerprint: "0123abcd" -> "ffff"', 'dtype: "bfloat16" -> "int8"', "recipe.fps: nothing -> 24"):
        assert part in str(caught.value)
    assert "model" not in str(caught.value)
    assert "size" not in str(caught.value)
    DatasetWriter(tmp_path, helpers.settings(model="other-name")).close()


def test_what_does_not_fit_leaves_nothing_and_the_writer_goes_on(tmp_path: Path) -> None:
    good, holes, wide = helpers.latents(0), helpers.latents(0), helpers.latents(0)
    holes[6, 1, 1, 1], wide[5, 0, 0, 0] = float("nan"), 1e6
    with DatasetWriter(tmp_path, helpers.settings(dtype="float16"), segment_frames=3) as writer:
        assert writer.add("a", good, helpers.meta(0))
        for values, reason in (
            (holes, "NaN or infinite"),
            (wide, "too large for float16"),
            (good[:, :2], "latents are"),
            (good[..., :5], "have latents of"),
            (good[:6], "have latents of"),
            ([good, good[..., :3]], "latent frames were"),
            ([], "have latents of"),
        ):
            with pytest.raises(InputError, match=reason):
                writer.add("bad", values, helpers.meta(0))
        with pytest.raises(RuntimeError, match="from the source"):
            writer.add("bad", _failing(good), helpers.meta(0))
        with pytest.raises(InputError, match="JSON"):
            writer.add("bad", good, ClipMeta(25, helpers.SIZE, Fraction(30), columns={"a": object()}))
        with pytest.raises(InputError, match="expected up to 64 letters"):
            writer.add("with.dot", good, helpers.meta(0))
        assert writer.add("b", good, helpers.meta(0))
    with tarfile.open(tmp_path / "shards" / "w0-00000.tar") as archive:
        assert {member.name.split(".")[0] for member in archive} == {"a", "b"}
    assert LatentDataset(tmp_path).keys == ["a", "b"]


def _failing(values: Tensor) -> Iterator[Tensor]:
    yield values[:5]
    raise RuntimeError("from the source")


def test_an_error_in_the_block_keeps_whole_clips(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path, helpers.settings()) as writer:
        assert 1 / (writer.add(helpers.key(0), helpers.latents(0), helpers.meta(0)) - 1)
    assert committed_keys(tmp_path) == {helpers.key(0)}


hashes = st.text("0123456789abcdef", min_size=4, max_size=8)
spans = st.tuples(*[st.none() | st.fractions(0, 1000)] * 2)


@quick
@given(one=hashes, other=hashes, span=spans, other_span=spans, height=st.sampled_from([64, 128]))
def test_keys_are_of_content_and_span(one: str, other: str, span: tuple, other_span: tuple, height: int) -> None:
    first = content_key(one, *span, transform={"fps": 24, "height": 64})
    assert first == content_key(one, *span, transform={"height": 64, "fps": 24})
    second = content_key(other, *other_span, transform={"height": height, "fps": 24})
    assert (first == second) == ((one, span, 64) == (other, other_span, height))
    assert first.isalnum()


def test_opening_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(LatentFileError, match=r"a folder without dataset\.json"):
        open_latents(tmp_path)
    with pytest.raises(LatentFileError, match="a folder, not a latent file"):
        LatentClip(tmp_path)
    helpers.write(tmp_path, [])
    empty = LatentDataset(tmp_path)
    assert (len(empty), empty.keys, empty.stats.count) == (0, [], 0)
    with pytest.raises(InputError, match="give no batch"):
        empty.batches()
    (tmp_path / "dataset.json").write_text(json.dumps({"format": 2, "crc": "0"}))
    with pytest.raises(LatentFileError, match="pip install --upgrade"):
        LatentDataset(tmp_path)
    with pytest.raises(InputError, match="worker="):
        DatasetWriter(tmp_path, helpers.settings(), worker="a/b")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_latents_of_one_column_are_written_whatever_their_strides(dtype: torch.dtype) -> None:
    """Torch calls them contiguous though their last stride is not 1, as encoders that keep channels last give them."""
    values = torch.arange(16).to(dtype).view(1, 16, 1, 1)
    strided = torch.empty_strided(values.shape, (16, 1, 16, 16), dtype=dtype).copy_(values)
    assert strided.is_contiguous()
    assert tar.pack_segment({"mean": strided}, {}) == tar.pack_segment({"mean": values}, {})
    assert payload.bytes_of(strided).tobytes() == values.view(torch.uint8).numpy().tobytes()
