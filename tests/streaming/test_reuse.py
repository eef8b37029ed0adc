"""Freed memory serves again within what was predicted, and goes back when the last sweep ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from torch import nn

from vidlatent.streaming import heap, reuse
from vidlatent.streaming.reuse import Reuse
from vidlatent.streaming.steps import Expected

MIB = 1 << 20

DECODE = """
import gc, resource, sys, torch, vidlatent as vl
from dataclasses import replace
from pathlib import Path
def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) >> 10
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.set_num_threads(1)
ae = vl.build("wan-2.1", base_dim=16)
x = torch.randn(1, 16, 7, 24, 24)
ae.decode(x[:, :, :2, :8, :8], plan=vl.Plan((2,), chunk=1))
plan = ae.plan(tuple(x.shape), "100MiB", "decode")
plan = replace(plan, added_bytes=plan.added_bytes * (sys.argv[1] == "reuse"))
from vidlatent.streaming.heap import return_freed_blocks
return_freed_blocks(plan.budget_bytes)
before, made = resident("VmRSS"), faults()
Path("/proc/self/clear_refs").write_text("5")
answer = ae.decode(x, plan=plan)
made = faults() - made
for again in range(2):
    del answer
    answer = ae.decode(x, plan=plan)
peak = resident("VmHWM") - before
del answer
gc.collect()
block = torch.ones(10 * 2**20)  # 40 MiB
del block
print(peak, plan.budget_bytes >> 20, made, resident("VmRSS") - before)
"""


def decoded(kind: str) -> tuple[int, int, int, int]:
    """MiB at the peak of three passes, MiB allowed, page faults of the first, and MiB that stay."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", DECODE, kind]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env=environment)
    peak, budget, faults, stays = map(int, run.stdout.split())
    return peak, budget, faults, stays


@pytest.mark.skipif(heap.in_use() is None, reason="the heap of another C library")
def test_passes_reuse_memory_within_the_budget() -> None:
    peak, budget, faults, stays = decoded("reuse")
    assert peak <= budget
    assert faults < 0.8 * decoded("return")[2]
    assert stays <= 24  # code that was compiled for some hundred shapes


@dataclass
class Process:
    """What the heap of a process would do: `live` bytes in use, `gaps` that are resident, and what is no heap."""

    live: int = 100 * MIB
    gaps: int = 0
    apart: int = 0
    returned: int = 0
    mapping: list[bool] = field(default_factory=list)

    def return_free_heap(self) -> None:
        self.returned, self.gaps = self.returned + 1, 0


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    one = Process()
    monkeypatch.setattr(heap, "in_use", lambda: heap.InUse(one.live, 0))
    monkeypatch.setattr(heap, "return_free_heap", one.return_free_heap)
    monkeypatch.setattr(heap, "use_huge_pages", lambda _: None)
    monkeypatch.setattr(heap, "map_blocks", one.mapping.append)
    monkeypatch.setattr(heap, "keep_freed_blocks", lambda: True)
    monkeypatch.setattr(heap, "return_freed_blocks", lambda *_: one.return_free_heap())
    monkeypatch.setattr(reuse, "_resident", lambda _: one.live + one.gaps + one.apart)
    monkeypatch.setattr(reuse._process, "left", 0)
    yield one
    assert reuse._process.running == 0
    assert not reuse._process.mapping


TREE = nn.ModuleDict({"large": nn.Identity(), "small": nn.Identity(), "unknown": nn.Identity()})
COUNTED = {"large": 100 * MIB, "large 2 True": 40 * MIB, "small": MIB}


def begun(added: int) -> Reuse:
    one = Reuse.within(added, added, added, Expected(TREE, COUNTED))
    assert one is not None
    return one


def test_gaps_stay_while_there_is_room(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 90 * MIB
    one.make_room(TREE["large"], MIB)
    assert process.returned == 0
    one.close()


def test_gaps_go_back_where_the_next_step_needs_more(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 100 * MIB
    one.make_room(TREE["small"], 50 * MIB)  # what was counted, whatever it works on
    assert process.returned == 0
    one.make_room(TREE["large"], MIB)
    assert process.returned == 1
    assert not process.mapping
    one.close()


def test_what_a_layer_does_is_counted_apart(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 120 * MIB
    one.make_room((TREE["large"], 2, True), MIB)
    assert process.returned == 0
    one.close()


def test_of_a_step_that_was_not_counted_a_multiple_of_its_input_is_expected(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 100 * MIB
    one.make_room(TREE["unknown"], 11 * MIB)
    assert process.returned == 0
    one.make_room("given", 91 * MIB)  # an answer, of which a copy may be made
    assert process.returned == 0
    one.make_room(TREE["unknown"], 12 * MIB)
    assert process.returned == 1
    one.close()


def test_nothing_is_done_for_a_step_that_works_on_nothing(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 200 * MIB
    one.make_room(TREE["large"], 0)
    assert process.returned == 0
    one.close()


def test_blocks_are_mapped_where_returning_gaps_is_not_enough(process: Process) -> None:
    one = begun(50 * MIB)
    one.make_room(TREE["large"], MIB)
    assert process.mapping == [True]
    one.make_room(TREE["small"], MIB)
    assert process.mapping == [True, False]
    one.close()


def test_the_last_of_several_gives_memory_back(process: Process) -> None:
    first, second = begun(MIB), begun(MIB)
    first.close()
    first.close()
    assert process.returned == 0
    del second  # forgotten
    assert process.returned == 1


def test_those_that_run_at_once_share_their_room(process: Process) -> None:
    first, second = begun(100 * MIB), begun(100 * MIB)
    process.gaps = 150 * MIB
    first.make_room(TREE["small"], MIB)
    second.make_room(TREE["small"], MIB)
    assert process.returned == 0
    second.close()
    first.make_room(TREE["small"], MIB)
    assert process.returned == 1
    first.close()


def test_what_a_sweep_left_is_a_part_of_the_next_ones_room(process: Process) -> None:
    begun(200 * MIB).close()
    one = begun(200 * MIB)
    process.apart += 20 * MIB  # code that was compiled, say
    one.close()
    one = begun(200 * MIB)
    process.gaps = 70 * MIB
    one.make_room(TREE["large"], MIB)
    assert process.returned == 2
    process.gaps = 75 * MIB
    one.make_room(TREE["large"], MIB)
    assert process.returned == 3
    one.close()
