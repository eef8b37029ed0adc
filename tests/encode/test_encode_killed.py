"""Whatever is killed at whatever moment, the dataset comes out as if nothing had been: see `killing.py`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def kill(folder: Path, *options: object) -> str:
    """Run it in a process tree of its own; its last line."""
    here = Path(__file__).parent
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(here / "killing.py"), str(folder), *map(str, options)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_few_kills(tmp_path: Path) -> None:
    assert re.match("4 kills", kill(tmp_path, "--kills", 4, "--videos", 12))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_kills(tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    line = kill(tmp_path, "--kills", 200, "--workers", workers)
    with capsys.disabled():
        print(f"\n{line}")
    assert re.match("20[0-9] kills", line)
    assert "while it wrote" in line
    assert workers == 1 or "of a worker" in line  # one worker is the main process
