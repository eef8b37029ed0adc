"""Freed memory goes back to the system, in a process of its own: the setting is for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidlatent.streaming.heap import _is_glibc

GAPS = """
import sys, torch
from pathlib import Path
from vidlatent.streaming.heap import return_freed_blocks
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
done = return_freed_blocks(int(sys.argv[1])) if sys.argv[1] != "-" else None
torch.ones(6 * 2**20)  # 24 MiB freed: glibc alone would keep smaller blocks in its heap from now on
before = resident()
blocks = [torch.ones(2**19) for _ in range(60)]  # 2 MiB each
del blocks[:-1]
print(done, (resident() - before) >> 20)
"""


def held_after(budget: str, **environment: str) -> tuple[str, int]:
    """What the function answered, and the MiB held by one block of 2 MiB after 59 like it were freed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", GAPS, budget]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=clean | environment)
    done, held = run.stdout.split()
    return done, int(held)


HUGE = """
import torch
from pathlib import Path
from vidlatent.streaming import heap
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def huge():
    lines = Path("/proc/self/smaps").read_text().splitlines()
    heaps = [i for i, line in enumerate(lines) if line.endswith("[heap]")]
    flags = [next(line for line in lines[i:] if line.startswith("VmFlags")) for i in heaps]
    sizes = [int(lines[i + 1].split()[1]) for i in heaps]
    return sum(size for size, line in zip(sizes, flags) if " hg" in line) >> 10
heap.keep_freed_blocks()
before = resident()
heap.use_huge_pages(256 * 2**20)
added = resident() - before
block = torch.ones(16 * 2**20)  # 64 MiB
print(added >> 20, huge(), (resident() - before) >> 20)
"""


def has_huge_pages() -> bool:
    return Path("/sys/kernel/mm/transparent_hugepage/enabled").exists()


@pytest.mark.skipif(not _is_glibc(), reason="the heap of another C library")
class TestHeap:
    @pytest.mark.skipif(not has_huge_pages(), reason="a system without transparent huge pages")
    def test_huge_pages_lie_ready_and_take_nothing_until_they_are_used(self) -> None:
        run = subprocess.run([sys.executable, "-c", HUGE], check=True, capture_output=True, text=True, timeout=120)
        added, huge, used = map(int, run.stdout.split())
        assert added <= 1
        assert huge >= 256
        assert 64 <= used <= 70

    def test_freed_blocks_go_back(self) -> None:
        assert held_after("-")[1] > 80  # else this test shows nothing
        done, held = held_after(str(256 * 2**20))
        assert done == "True"
        assert held <= 4

    def test_a_large_budget_keeps_small_blocks(self) -> None:
        assert held_after(str(2**40))[1] > 80

    @pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
    def test_the_environment_has_the_last_word(self, name: str) -> None:
        value = "glibc.malloc.trim_threshold=1048576" if name == "GLIBC_TUNABLES" else "1048576"
        assert held_after(str(256 * 2**20), **{name: value})[0] == "False"


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidlatent.streaming import heap

    monkeypatch.setattr(sys, "platform", "darwin")
    assert heap.return_freed_blocks(2**30) is False
    heap.use_huge_pages(2**20)
