"""Freed memory serves again within what was predicted, and goes back when the last sweep ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from vidlatent.streaming import heap, reuse
from vidlatent.streaming.reuse import Reuse

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
peak, made = resident("VmHWM") - before, faults() - made
del answer
gc.collect()
block = torch.ones(10 * 2**20)  # 40 MiB
del block
print(peak, plan.budget_bytes >> 20, made, resident("VmRSS") - before)
"""


def decoded(kind: str) -> tuple[int, int, int, int]:
    """MiB at the peak, MiB allowed, page faults, and MiB that stay."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", DECODE, kind]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env=environment)
    peak, budget, faults, stays = map(int, run.stdout.split())
    return peak, budget, faults, stays


@pytest.mark.skipif(heap.in_use() is None, reason="the heap of another C library")
def test_a_pass_reuses_memory_within_the_budget() -> None:
    peak, budget, faults, stays = decoded("reuse")
    assert peak <= budget
    assert faults < 0.8 * decoded("return")[2]
    assert stays <= 24  # code that was compiled for some hundred shapes


@dataclass
class Process:
    """What the heap of a process would do: `live` bytes in use, `gaps` that are resident."""

    live: int = 100 * MIB
    gaps: int = 0
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
    monkeypatch.setattr(reuse, "_resident", lambda _: one.live + one.gaps)
    yield one
    assert reuse._process.running == 0
    assert not reuse._process.mapping


def begun(added: int) -> Reuse:
    one = Reuse.within(added, added, added)
    assert one is not None
    return one


def test_gaps_stay_while_there_is_room(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 100 * MIB
    one.make_room("step", MIB)
    assert process.returned == 0
    one.close()


def test_gaps_go_back_where_the_next_step_may_need_more(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 195 * MIB
    one.make_room("step", MIB)
    assert process.returned == 1
    assert not process.mapping
    one.close()


def test_what_a_step_took_is_expected_of_it_again(process: Process) -> None:
    one = begun(200 * MIB)
    one.make_room("large", MIB)
    process.live += 100 * MIB  # from fresh memory: there were no gaps
    one.make_room("other", MIB)
    process.live, process.gaps = process.live - 100 * MIB, 100 * MIB
    one.make_room("other", MIB)
    assert process.returned == 0
    one.make_room("large", MIB)  # 100 more beside the gaps
    assert process.returned == 1
    assert not process.mapping
    one.close()


def test_where_gaps_may_have_served_they_count_until_more_is_known(process: Process) -> None:
    one = begun(200 * MIB)
    process.gaps = 60 * MIB
    one.make_room("step", 10 * MIB)
    process.live, process.gaps = process.live + 60 * MIB, 0
    one.make_room("other", MIB)
    process.live, process.gaps = process.live - 60 * MIB, 140 * MIB
    one.make_room("step", 10 * MIB)  # nothing grew, but 60 may have been needed
    assert process.returned == 1
    process.live += 20 * MIB
    one.make_room("other", MIB)
    process.live, process.gaps = process.live - 20 * MIB, 160 * MIB
    one.make_room("step", 10 * MIB)  # it was 20
    assert process.returned == 1
    one.close()


def test_more_input_takes_more_in_proportion(process: Process) -> None:
    one = begun(200 * MIB)
    one.make_room("step", MIB)
    process.live += 4 * MIB
    one.make_room("other", MIB)
    process.live, process.gaps = process.live - 4 * MIB, 40 * MIB
    one.make_room("step", 35 * MIB)  # 140 beside the gaps, not eight times as much
    assert process.returned == 0
    one.make_room("step", 45 * MIB)
    assert process.returned == 1
    assert not process.mapping
    one.close()


def test_of_a_step_like_others_their_like_is_expected(process: Process) -> None:
    one = begun(200 * MIB)
    one.make_room(("a module", 3), 10 * MIB)
    process.live += 20 * MIB
    one.make_room("other", MIB)
    process.live, process.gaps = process.live - 20 * MIB, 100 * MIB
    one.make_room(("another", 3), 20 * MIB)  # thrice its input, to be safe
    assert process.returned == 0
    one.make_room(("another", 2), 20 * MIB)  # nothing is known of its kind
    assert process.returned == 1
    one.close()


def test_blocks_are_mapped_where_returning_gaps_is_not_enough(process: Process) -> None:
    one = begun(50 * MIB)
    one.make_room("large", 10 * MIB)
    assert process.mapping == [True]
    one.make_room("small", MIB)
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
    first.make_room("step", MIB)
    second.make_room("step", MIB)
    assert process.returned == 0
    second.close()
    first.make_room("step", MIB)
    assert process.returned == 1
    first.close()


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1048576")
    assert Reuse.within(MIB, MIB, MIB) is None
