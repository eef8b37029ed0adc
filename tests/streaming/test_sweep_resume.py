"""A stream that stops anywhere continues bit for bit: from memory, from a file, in another process."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from resume_stream import PLANS, build, push_all
from sweep_helpers import assert_close, random_like
from torch import Tensor

import vidlatent
from vidlatent.streaming import SlabStream
from vidlatent.streaming.state import concat

CUTS = [2, 1, 0, 4, 3]


def pushed(plan: str) -> list[Tensor]:
    """Uneven slabs, an empty one among them, of a 10 x 10 x 6 clip."""
    return list(random_like(torch.empty(1, 3, 10, 10, 6), 5).split(CUTS, PLANS[plan].axes[0]))


def same(got: list[Tensor], want: list[Tensor]) -> bool:
    return len(got) == len(want) and all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def through_file(saved: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("plan", PLANS)
def test_the_model_of_this_file_streams_exactly(plan: str, barrier: bool) -> None:
    model, slabs = build(barrier=barrier).double(), [slab.double() for slab in pushed(plan)]
    outer = PLANS[plan].axes[0]
    want = model(torch.cat(slabs, outer))
    assert_close(concat(push_all(SlabStream(model, PLANS[plan]), slabs), outer), want)
    assert want.shape[1:] == (3, 5, 10, 12)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("reload", [through_file, lambda saved: saved], ids=["file", "memory"])
def test_continues_bit_for_bit_wherever_it_stopped(plan: str, barrier: bool, reload) -> None:
    slabs, snapshots, want = pushed(plan), [], []
    stream = SlabStream(build(barrier=barrier), PLANS[plan])
    for slab in slabs:
        snapshots.append(stream.state_dict())
        if reload is through_file:
            snapshots[-1] = reload(snapshots[-1])
        want.append(stream.push(slab))
    snapshots.append(stream.state_dict())
    want.append(stream.finish())
    # a snapshot in memory must not have changed while the stream went on, nor may one resumed stream disturb another
    for _ in range(2):
        for position, saved in enumerate(snapshots[1:], 1):
            resumed = SlabStream(build(barrier=barrier), PLANS[plan])
            resumed.load_state_dict(saved)
            assert same(push_all(resumed, slabs[position:]), want[position:]), f"stopped before slab {position}"


def test_a_state_that_was_loaded_and_not_used_can_be_saved_again() -> None:
    slabs = pushed("rows inside frames")
    first = SlabStream(build(), PLANS["rows inside frames"])
    for slab in slabs[:2]:
        first.push(slab)
    middle = SlabStream(build(), PLANS["rows inside frames"])
    middle.load_state_dict(through_file(first.state_dict()))
    assert middle.sweep.state_bytes == first.sweep.state_bytes > 0
    third = SlabStream(build(), PLANS["rows inside frames"])
    third.load_state_dict(through_file(middle.state_dict()))
    assert same(push_all(third, slabs[2:]), push_all(first, slabs[2:]))


def test_continues_bit_for_bit_in_another_process(tmp_path: Path) -> None:
    saved, rest, want = {}, {}, {}
    for plan in PLANS:
        for barrier in (False, True):
            slabs, stream, answers = pushed(plan), SlabStream(build(barrier=barrier), PLANS[plan]), []
            names = [f"{plan},{number}{',barrier' * barrier}" for number in range(1, len(slabs) + 1)]
            for number, (name, slab) in enumerate(zip(names, slabs, strict=True), 1):
                answers.append(stream.push(slab))
                saved[name], rest[name] = through_file(stream.state_dict()), [s.clone() for s in slabs[number:]]
            answers.append(stream.finish())
            want |= {name: answers[number:] for number, name in enumerate(names, 1)}
    paths = [tmp_path / name for name in ("saved.pt", "slabs.pt", "answers.pt")]
    torch.save(saved, paths[0])
    torch.save(rest, paths[1])
    program = Path(__file__).with_name("resume_stream.py")
    here = os.environ | {"PYTHONPATH": str(Path(vidlatent.__file__).parents[1])}  # the same package, installed or not
    subprocess.run([sys.executable, "-W", "error", str(program), *map(str, paths)], check=True, timeout=300, env=here)
    got = torch.load(paths[2], weights_only=True)
    assert got.keys() == want.keys()
    assert len(got) == 8 * len(CUTS)
    assert [name for name in want if not same(got[name], want[name])] == []
