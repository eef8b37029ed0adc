"""Batches of clips: what they hold, that they repeat, that resuming is counting."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from vidlatent.errors import InputError
from vidlatent.train.clips import ClipBatches, ClipDataConfig, fixed_windows


def config(folder: Path, /, **changes: Any) -> ClipDataConfig:
    return ClipDataConfig.model_validate({"folder": folder, "frames": 5, "size": (24, 32), "batch": 2, **changes})


def first(batches: ClipBatches, count: int) -> list[torch.Tensor]:
    return [batch["video"] for batch in islice(iter(batches), count)]


def test_batches_have_the_size_asked_for(clips: Path) -> None:
    for batch in first(ClipBatches(config(clips), seed=0), 2):
        assert batch.shape == (2, 3, 5, 24, 32)
        assert batch.abs().max() <= 1


@pytest.mark.parametrize("changes", [{}, {"pool": 3}, {"workers": 1}], ids=["read", "pool", "workers"])
def test_a_resumed_stream_goes_on_where_it_was(clips: Path, changes: dict) -> None:
    settings = config(clips, images=0.3, stride=(1, 3), **changes)
    whole = first(ClipBatches(settings, seed=1), 4)
    begun = ClipBatches(settings, seed=1)
    first(begun, 2)
    resumed = ClipBatches(settings, seed=1)
    resumed.load_state_dict(begun.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(first(resumed, 2), whole[2:], strict=True))


def test_seeds_stages_and_processes_see_different_clips(clips: Path) -> None:
    streams = [ClipBatches(config(clips), seed=0)]
    streams += [ClipBatches(config(clips), seed=0, rank=1, world=2), ClipBatches(config(clips), seed=0, stage=1)]
    starts = [first(stream, 1)[0] for stream in streams]
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_images_come_as_single_frames(clips: Path) -> None:
    assert all(batch.shape[2] == 1 for batch in first(ClipBatches(config(clips, images=1.0), seed=0), 3))


def test_a_slower_rate_moves_more_between_frames(clips: Path) -> None:
    def motion(**changes: Any) -> float:
        batches = first(ClipBatches(config(clips, frames=4, zoom=(1, 1), **changes), seed=0), 6)
        return float(torch.stack([batch.diff(dim=2).abs().mean() for batch in batches]).mean())

    assert motion(fps=4) > 1.5 * motion()
    assert motion(stride=(4, 4)) > 1.5 * motion()


def test_files_that_are_no_videos_are_passed_over(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "slow.mp4").write_bytes((clips / "slow.mp4").read_bytes())
    assert first(ClipBatches(config(tmp_path), seed=0), 1)[0].shape[0] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 500}, "that long"),
        ({"stride": (0, 1)}, "data.stride"),
        ({"zoom": (0.0, 1.0)}, "data.zoom"),
        ({"folder": Path("nowhere")}, "no such folder"),
    ],
)
def test_what_cannot_be_is_refused(clips: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClipBatches(config(clips, **changes), seed=0)


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no video"):
        ClipBatches(config(tmp_path), seed=0)


def test_fixed_windows_are_the_first_frames(clips: Path) -> None:
    windows = fixed_windows(clips, 5, 9, (16, 16))
    assert [name for name, _ in windows] == ["fast", "slow"]
    assert windows[0][1].shape == (1, 3, 9, 16, 16)
