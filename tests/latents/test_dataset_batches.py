"""Batches for training: a function of seed, epoch and rank, whoever reads them and wherever they were interrupted."""

import copy
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import dataset_helpers as helpers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from vidlatent.autoencoders import LatentSpec
from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents import ClipMeta, ClipSource, DatasetWriter, LatentBatches, LatentDataset, open_latents
from vidlatent.latents.dataset.meta import Descriptions

quick = settings(max_examples=30, deadline=None)
CLIPS = 30
more_workers_than_cores = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set")
    helpers.write(path, range(CLIPS), settings=helpers.settings(dtype="float32"), shard_bytes=2**30)
    with DatasetWriter(path, helpers.settings(dtype="float32"), worker="wide") as writer:  # another bucket
        for number in range(CLIPS, CLIPS + 6):
            values = torch.full((7, 3, 5, 14), float(number))
            writer.add(helpers.key(number), values, replace(helpers.meta(number), size=(33, 106)))
    return path


@pytest.fixture(scope="module")
def dataset(folder: Path) -> LatentDataset:
    return LatentDataset(folder)


def windows(batches: Any) -> list[tuple[str, int]]:
    return [(key, int(start)) for batch in batches for key, start in zip(batch["keys"], batch["starts"], strict=True)]


def test_batches_are_those_windows(dataset: LatentDataset) -> None:
    for batch in dataset.batches(frames=5, batch_size=2):
        assert batch["latents"].shape[:3] == (2, 3, 5)
        for row, key in enumerate(batch["keys"]):
            clip = dataset.find(key)
            expected = dataset.window(clip, int(batch["starts"][row]), 5)
            assert torch.equal(batch["latents"][row], expected.transpose(0, 1))
            assert batch["meta"][row] == dataset.meta(clip)
            assert batch["captions"][row] == dataset.meta(clip).caption
        assert list(batch["meta"]) == [batch["meta"][row] for row in range(len(batch["meta"]))]
    bare = next(iter(dataset.batches(frames=5, with_meta=False)))
    assert not {"meta", "captions"} & set(bare)


def test_every_clip_that_is_long_enough_comes_once(dataset: LatentDataset) -> None:
    long_enough = {dataset.key(i) for i in range(len(dataset)) if dataset.shape(i)[0] >= 5}
    seen = [key for key, _ in windows(dataset.batches(frames=5))]
    assert sorted(seen) == sorted(long_enough)
    whole = [key for key, _ in windows(dataset.batches())]
    assert sorted(whole) == dataset.keys
    assert {batch["latents"].shape[2] for batch in dataset.batches(batch_size=2)} == {3, 7, 12}


def test_all_windows_at_a_stride(dataset: LatentDataset) -> None:
    got = sorted(windows(dataset.batches(frames=3, windows="all", stride=2, shuffle=False)))
    expected = sorted(
        (dataset.key(i), start) for i in range(len(dataset)) for start in range(0, dataset.shape(i)[0] - 2, 2)
    )
    assert got == expected


@quick
@given(
    seed=st.integers(0, 100),
    epoch=st.integers(0, 5),
    world=st.integers(1, 3),
    size=st.integers(1, 4),
    drop=st.booleans(),
    which=st.sampled_from(["random", "all"]),
)
def test_ranks_share_an_epoch(
    dataset: LatentDataset, seed: int, epoch: int, world: int, size: int, drop: bool, which: Any
) -> None:
    options: dict[str, Any] = {"frames": 4, "windows": which, "seed": seed, "drop_last": drop, "with_meta": False}
    ranks = []
    for rank in range(world):
        batches = dataset.batches(batch_size=size, rank=rank, world_size=world, **options)
        batches.set_epoch(epoch)
        ranks.append(list(batches))
        assert len(ranks[-1]) == len(batches)
    shapes = [[batch["latents"].shape for batch in of_rank] for of_rank in ranks]
    assert all(of_rank == shapes[0] for of_rank in shapes)
    single = dataset.batches(**{**options, "drop_last": False})
    single.set_epoch(epoch)
    there, got = windows(single), [window for of_rank in ranks for window in windows(of_rank)]
    assert set(got) <= set(there)
    if drop:
        assert len(got) == len(set(got))
        assert len(there) - len(got) < 2 * size * world  # what is left of two buckets
    else:
        assert set(got) == set(there)


def test_epochs_differ_and_repeat(dataset: LatentDataset) -> None:
    batches = dataset.batches(frames=3, batch_size=4)
    first = windows(batches)
    assert windows(batches) == first
    batches.set_epoch(1)
    second = windows(batches)
    assert second != first
    assert [start for _, start in second] != [start for _, start in first]
    assert windows(dataset.batches(frames=3, batch_size=4, seed=1)) != first
    batches.set_epoch(0)
    assert windows(batches) == first


def test_order_does_not_depend_on_who_wrote_the_clips(dataset: LatentDataset, tmp_path: Path) -> None:
    numbers = list(range(12))
    helpers.write(tmp_path / "one", numbers)
    for rank in range(3):
        helpers.write(tmp_path / "three", reversed(numbers[rank::3]), worker=f"w{rank}")
    one, three = (windows(LatentDataset(tmp_path / name).batches(frames=3)) for name in ("one", "three"))
    assert one == three


@pytest.mark.parametrize("workers", [1, 3])
@more_workers_than_cores
def test_workers_change_nothing(dataset: LatentDataset, workers: int) -> None:
    batches = dataset.batches(frames=3, batch_size=4)
    loader = DataLoader(batches, batch_size=None, num_workers=workers, persistent_workers=True)
    for epoch in range(2):
        batches.set_epoch(epoch)
        expected = list(batches)
        got = list(loader)
        assert windows(got) == windows(expected)
        assert all(torch.equal(a["latents"], b["latents"]) for a, b in zip(got, expected, strict=True))
    del loader


def test_resuming_after_any_batch(dataset: LatentDataset) -> None:
    batches = dataset.batches(frames=3, batch_size=4, seed=3)
    batches.set_epoch(2)
    whole = list(batches)
    for done, batch in enumerate(whole, start=1):
        resumed = dataset.batches(frames=3, batch_size=4, seed=3)
        resumed.load_state_dict(batch["state"])
        resumed.set_epoch(2)
        assert windows(resumed) == windows(whole[done:])
        assert windows(resumed) == windows(whole[done:])
    resumed.set_epoch(3)
    batches.set_epoch(3)
    assert windows(resumed) == windows(batches)


@more_workers_than_cores
def test_resuming_a_loader_that_had_read_ahead(dataset: LatentDataset) -> None:
    batches = dataset.batches(frames=3, batch_size=2)
    whole = windows(batches)
    loader = iter(DataLoader(batches, batch_size=None, num_workers=2, prefetch_factor=4))
    seen = [next(loader) for _ in range(5)]
    del loader
    fresh = dataset.batches(frames=3, batch_size=2)
    fresh.load_state_dict(seen[-1]["state"])
    rest = list(DataLoader(fresh, batch_size=None, num_workers=3))
    assert windows(seen) + windows(rest) == whole


def test_state_while_reading_in_this_process(dataset: LatentDataset) -> None:
    batches = dataset.batches(frames=3, batch_size=2)
    assert batches.state_dict()["done"] == 0
    passing = iter(batches)
    for _ in range(3):
        next(passing)
    assert batches.state_dict()["done"] == 3
    with pytest.raises(InputError, match=r"batch_size': 2.* -> .*batch_size': 3"):
        dataset.batches(frames=3, batch_size=3).load_state_dict(batches.state_dict())


def test_bad_arguments(dataset: LatentDataset) -> None:
    for options, reason in (
        ({"rank": 2, "world_size": 2}, "rank=2: expected 0 to 1"),
        ({"frames": 0}, "frames=0"),
        ({"frames": 13}, "give no batch of 1 x 1 windows of 13 latent frames"),
        ({"batch_size": 100}, "drop_last=False"),
        ({"windows": "some"}, "expected random or all"),
    ):
        with pytest.raises(InputError, match=reason):
            dataset.batches(**options)  # type: ignore[arg-type]
    for arguments, reason in (
        ({"normalize": "other"}, "expected spec, stats or None"),
        ({"posterior": "other"}, "expected mode, sample or moments"),
        ({"posterior": "sample"}, "keeps the mean only"),
    ):
        with pytest.raises(InputError, match=reason):
            LatentDataset(dataset.folder.url, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 3])
def test_normalising_is_that_of_the_autoencoder(tmp_path: Path, rows: int) -> None:
    """Statistics per channel, or one for each latent frame of the clip: windows know where they begin."""
    mean, std = (torch.rand(3 * rows, generator=torch.Generator().manual_seed(i)).add(0.5).tolist() for i in range(2))
    spec = {**helpers.SPEC, "mean": tuple(mean), "std": tuple(std)}
    chosen = helpers.settings(dtype="float32", latent_spec=spec)
    helpers.write(tmp_path, [0, 3], settings=chosen)
    dataset = open_latents(tmp_path, normalize="spec")
    assert isinstance(dataset, LatentDataset)
    reference = LatentSpec(3, (4, 8, 8), mean=tuple(mean), std=tuple(std))
    for number in (0, 3):
        whole = reference.normalize(helpers.latents(number).transpose(0, 1)[None])[0].transpose(0, 1)
        i = dataset.find(helpers.key(number))
        for start in range(4):
            torch.testing.assert_close(dataset.window(i, start, 3), whole[start : start + 3])
    batch = next(iter(dataset.batches(frames=3)))
    i, start = dataset.find(batch["keys"][0]), int(batch["starts"][0])
    assert torch.equal(batch["latents"][0].transpose(0, 1), dataset.window(i, start, 3))


def test_normalising_by_the_datasets_own_statistics(tmp_path: Path) -> None:
    helpers.write(tmp_path, range(3), settings=helpers.settings(dtype="float32"))
    dataset = LatentDataset(tmp_path, normalize="stats")
    values = torch.cat([dataset[i]["latents"] for i in range(3)])
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    bare = helpers.settings(latent_spec={**helpers.SPEC, "mean": (), "std": ()})
    helpers.write(tmp_path / "bare", [0], settings=bare)
    with pytest.raises(InputError, match="take 'stats'"):
        LatentDataset(tmp_path / "bare", normalize="spec")


def test_moments_are_drawn_and_normalised(tmp_path: Path) -> None:
    chosen = helpers.settings(dtype="float32", kind="moments")
    with DatasetWriter(tmp_path, chosen) as writer:
        for number in range(4):
            moments = torch.cat([torch.full((7, 3, 5, 7), 2.0), torch.full((7, 3, 5, 7), -1.0)], 1)
            writer.add(helpers.key(number), moments, helpers.meta(number))
    assert LatentDataset(tmp_path)[0]["latents"].unique().tolist() == [2.0]
    mean, std = (torch.tensor(helpers.SPEC[name]).view(3, 1, 1) for name in ("mean", "std"))
    both = LatentDataset(tmp_path, posterior="moments", normalize="spec").window(0, 2, 3)
    torch.testing.assert_close(both[:, :3], ((2.0 - mean) / std).expand(3, 3, 5, 7))
    torch.testing.assert_close((both[:, 3:] / 2).exp(), (torch.tensor(-0.5).exp() / std).expand(3, 3, 5, 7))
    drawn = LatentDataset(tmp_path, posterior="sample")
    values = torch.cat([drawn.window(i, 0, 7, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    assert abs(float(values.mean()) - 2) < 0.05
    assert abs(float(values.std()) - torch.tensor(-0.5).exp()) < 0.05
    batches = drawn.batches(frames=3, batch_size=2)
    one, other = list(batches), list(DataLoader(batches, batch_size=None, num_workers=2))
    assert all(torch.equal(a["latents"], b["latents"]) for a, b in zip(one, other, strict=True))
    batches.set_epoch(1)
    assert not torch.equal(next(iter(batches))["latents"], one[0]["latents"])


def test_a_map_style_dataset_for_spawned_workers(dataset: LatentDataset) -> None:
    some = torch.utils.data.Subset(dataset, range(6))
    loader = DataLoader(
        some, batch_size=3, num_workers=1, multiprocessing_context="spawn", collate_fn=LatentDataset.collate
    )
    for first, batch in zip((0, 3), loader, strict=True):
        for row in range(3):
            assert torch.equal(batch["latents"][row], dataset[first + row]["latents"])
            assert batch["key"][row] == dataset.key(first + row)


def test_batches_survive_pickling_with_their_place(dataset: LatentDataset) -> None:
    batches = dataset.batches(frames=3)
    assert isinstance(batches, LatentBatches)
    batches.set_epoch(4)
    assert windows(copy.deepcopy(batches)) == windows(batches)


def test_captions_are_those_of_the_clips_whatever_else_is_told() -> None:
    times = [Fraction(number, 24) for number in range(9)]
    for uri in ('a "source": {"caption": "no"}.mp4', ""):
        meta = ClipMeta(
            9,
            (32, 48),
            Fraction(24),
            times,
            source=ClipSource(uri=uri),
            caption='yes, "source": ',
            columns={"source": {"caption": "no"}, "caption": "no"},
        )
        text = meta.to_json()
        turned = json.dumps(dict(reversed(json.loads(text).items())))
        described = Descriptions([text.encode(), turned.encode()])
        assert described.captions == [meta.caption] * 2
        assert list(described) == [meta] * 2
    with pytest.raises(LatentFileError, match="description is damaged"):
        _ = Descriptions([b'{"num_frames": 9, "source": {}}']).captions
