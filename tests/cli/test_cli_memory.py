"""An hour of video takes the memory of ten seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import ENVIRONMENT, write_pattern

IMPORTS = "import vidlatent.cli.app, vidlatent.encode, vidlatent.io._av_encode, vidlatent.autoencoders"


def peak_bytes(*arguments: object) -> int:
    """Largest resident set of a process."""
    running = subprocess.Popen(
        [sys.executable, *map(str, arguments)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_ten_times_the_length_takes_the_same_memory(verb: str, model: Path, tmp_path: Path) -> None:
    baseline = peak_bytes("-c", IMPORTS)
    peaks = []
    for frames in (200, 2000):
        clip = write_pattern(tmp_path / f"{frames}.mp4", frames)
        latents, decoded = tmp_path / f"{frames}.safetensors", tmp_path / f"{frames}.mkv"
        peak = peak_bytes("-m", "vidlatent", "encode", clip, "-o", latents, "-m", model)
        if verb == "decode":
            peak = peak_bytes("-m", "vidlatent", "decode", latents, "-o", decoded)
        peaks.append(peak - baseline)
    # above the imports a small clip needs little: 4 MiB is less than a fifth of what 1,800 more frames held would take
    assert peaks[1] - peaks[0] <= max(0.1 * peaks[0], 4 * 2**20), [f"{peak / 2**20:.1f} MiB" for peak in peaks]
