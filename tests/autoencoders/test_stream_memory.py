"""A stream of large frames, in strips, stays within its budget: what is resident in its process, weights included."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

import vidlatent as vl
from vidlatent.streaming.heap import _is_glibc

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from measure import held_and_peak_bytes

FRAMES, SIZE, BUDGET = 5, (1080, 1920), 260 * 2**20

pytestmark = pytest.mark.skipif(not _is_glibc(), reason="needs /proc and glibc")


def planned() -> tuple[vl.Autoencoder, vl.Plan]:
    ae = vl.load("vidlatent-tiny")
    return ae, ae.plan((1, 3, FRAMES, *SIZE), BUDGET, "encode", streaming=True)


def encode(ae: vl.Autoencoder, plan: vl.Plan) -> None:
    with ae.stream_encoder(plan) as stream:
        for first in range(0, FRAMES, plan.chunk):
            stream.push(torch.full((1, 3, min(plan.chunk, FRAMES - first), *SIZE), 0.5))
        stream.finish()


def prepared() -> Callable[[], None]:
    return partial(encode, *planned())


def test_a_stream_in_strips_keeps_its_budget() -> None:
    _, plan = planned()
    assert len(plan.axes) == 2
    measured = held_and_peak_bytes(prepared)
    assert 0.8 * plan.peak_bytes <= measured <= BUDGET
