"""Statistics that add up: any partition, in any order, is the whole in two passes."""

from pathlib import Path

import dataset_helpers as helpers
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlatent.latents import ChannelStats, DatasetWriter, LatentDataset, write_stats
from vidlatent.latents.dataset import shard
from vidlatent.latents.values import as_read

quick = settings(max_examples=50, deadline=None)


@quick
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    groups=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1e4, -3e6]),
    seed=st.integers(0, 1000),
)
def test_merging_is_the_whole(sizes: list[int], groups: int, offset: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pieces = [torch.randn(size, 3, 2, 5, generator=generator, dtype=torch.float64) + offset for size in sizes]
    parts = [ChannelStats(3) for _ in range(groups)]
    for number, piece in enumerate(pieces):
        parts[number % groups].update(piece)
    total = ChannelStats(3)
    for part in reversed(parts):
        total.merge(part)
    values = torch.cat(pieces).transpose(0, 1).reshape(3, -1).numpy()
    assert total.count == values.shape[1]
    if values.size:
        np.testing.assert_allclose(total.mean, values.mean(1), rtol=1e-13)
        np.testing.assert_allclose(total.std, values.std(1), rtol=1e-7)
        np.testing.assert_allclose(total.covariance, np.cov(values, bias=True), rtol=1e-6, atol=1e-8)
    again = ChannelStats.from_json(total.to_json())
    assert torch.equal(again.scatter, total.scatter)
    assert torch.equal(again.mean, total.mean)


def test_statistics_are_of_what_a_reader_gets(tmp_path: Path) -> None:
    for dtype in ("int8", "bfloat16"):
        for kind in ("mean", "moments"):
            folder = tmp_path / dtype / kind
            chosen = helpers.settings(dtype=dtype, kind=kind)
            helpers.write(folder, range(5), settings=chosen)
            read = [
                as_read(segment, dtype)[:, :3].double()
                for number in range(5)
                for segment in helpers.latents(
                    number, helpers.frames_of(number), channels=chosen.stored_channels
                ).split(5)
            ]
            values = torch.cat(read)
            stats = LatentDataset(folder).stats
            torch.testing.assert_close(stats.mean, values.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(stats.std, values.std((0, 2, 3), correction=0), rtol=1e-10, atol=1e-12)


def test_reading_a_shard_back_gives_its_statistics_bit_for_bit(tmp_path: Path) -> None:
    """What recovery computes is what the writer would have said."""
    helpers.write(tmp_path / "whole", range(4), shard_bytes=2**30)
    writer = DatasetWriter(tmp_path / "died", helpers.settings(), commit_seconds=0, segment_frames=5)
    for number in range(4):
        count = helpers.frames_of(number)
        writer.add(helpers.key(number), helpers.latents(number, count), helpers.meta(number, count))
    assert writer._shard is not None
    writer._shard.abandon()
    helpers.write(tmp_path / "died", [])
    one, other = (path / "shards" / f"w0-00000{shard.INDEX}" for path in (tmp_path / "whole", tmp_path / "died"))
    assert one.read_bytes() == other.read_bytes()


def test_stats_json_is_used_only_while_it_is_of_these_clips(tmp_path: Path) -> None:
    helpers.write(tmp_path, range(3))
    helpers.write(tmp_path, [3, 4], worker="w1", stats=False)
    stats = LatentDataset(tmp_path).stats
    assert stats.count == sum(map(helpers.frames_of, range(5))) * 5 * 7
    written = write_stats(tmp_path)
    torch.testing.assert_close(written.covariance, stats.covariance, rtol=1e-12, atol=1e-12)
    (tmp_path / "stats.json").write_text("{")
    torch.testing.assert_close(LatentDataset(tmp_path).stats.mean, stats.mean, rtol=0, atol=0)
