"""What goes wrong is one line that says what to do, an exit code, and nothing torn on the disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import ENVIRONMENT, Here, Process


@pytest.fixture
def latents(here: Here, model: Path, clip: Path, tmp_path: Path) -> Path:
    assert here("encode", clip, "-o", tmp_path / "a.safetensors", "-m", model).exit_code == 0
    return tmp_path / "a.safetensors"


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("encode", "none.mp4", "-o", "x"), "none.mp4: no such file"),
        (("encode", "text.mp4", "-o", "x"), "not a readable video"),
        (("encode", "{clip}", "-o", "x", "-m", "nonsense"), "`vidlatent models` lists all"),
        (("encode", "{clip}", "-o", "no/such/x", "-m", "{model}"), "does not exist"),
        (("encode", "{clip}", "-o", "{clip}", "-m", "{model}"), "choose another name"),
        (("encode", "{clip}", "-o", "text.mp4", "-n", "-m", "{model}"), "no-clobber"),
        (("encode", "{clip}", "-o", "x", "-m", "{model}", "--start", "99"), "no frame in"),
        (("encode", "{clip}", "-o", "x", "-m", "{model}", "--memory", "10kB"), "unit"),
        (("encode", "{clip}", "-o", "x", "-m", "{model}", "--memory", "10000"), "smallest"),
        (("encode", "{clip}", "-o", "x", "-m", "{model}", "--device", "cuda:99"), "--device cuda:99"),
        (("decode", "none", "-o", "x.mp4"), "none: no such file"),
        (("decode", "{model}", "-o", "x.mp4"), "not latents"),
        (("reconstruct", "{clip}", "-o", "text.mp4", "-m", "{model}"), "is a file"),
        (("info", "none"), "no such file or folder, and no model"),
        (("info", "text.mp4"), "not a readable video"),
        (("plan", "vidlatent-tiny", "--video", "9x64x64", "--memory", "1000"), "smallest"),
    ],
)
def test_bad_input(
    here: Here, model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
    reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("this is text")
    result = here(*(a.format(clip=clip, model=model) for a in arguments))
    if reason == "unit":  # a budget that cannot be read is wrong usage
        assert result.exit_code == 2
        return
    assert result.exit_code == 1, result.output
    assert reason in one_line(result.stderr)
    assert os.listdir(tmp_path) == ["text.mp4"]
    result = here(*(a.format(clip=clip, model=model) for a in arguments), "--json")
    assert reason in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "a.mp4"),
        ("encode", "a.mp4", "-o", "x", "--size", "0x8"),
        ("encode", "a.mp4", "-o", "x", "--start", "soon"),
        ("encode", "a.mp4", "-o", "x", "--fps", "none"),
        ("encode", "a.mp4", "-o", "x", "--dtype", "int8"),
        ("plan", "vidlatent-tiny", "--video", "480x832", "--memory", "1GB"),
        ("plan", "vidlatent-tiny", "--video", "1x480x832", "--memory", "1GB", "--direction", "up"),
        ("nonsense",),
    ],
)
def test_wrong_usage(here: Here, arguments: tuple[str, ...]) -> None:
    assert here(*arguments).exit_code == 2


def test_latents_of_another_model_are_refused(here: Here, latents: Path, tmp_path: Path) -> None:
    import vidlatent
    from vidlatent.autoencoders import load_checkpoint, save_checkpoint
    from vidlatent.latents import open_latents

    with open_latents(latents) as clip:
        ae = load_checkpoint(clip.meta.model)
        made_by = clip.meta.fingerprint
    other = vidlatent.build("vidlatent-tiny", seed=5, **vars(ae.config))
    save_checkpoint(other, tmp_path / "other.safetensors")
    arguments = ("decode", latents, "-o", tmp_path / "b.mp4", "-m", tmp_path / "other.safetensors")
    result = here(*arguments)
    assert result.exit_code == 1
    assert made_by in one_line(result.stderr)
    assert other.fingerprint in result.stderr
    assert not (tmp_path / "b.mp4").exists()
    assert here(*arguments, "--any-model").exit_code == 0


def test_sound_of_a_clip_that_is_gone_or_changed(here: Here, clip: Path, model: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(clip.read_bytes())
    assert here("encode", moved, "-o", tmp_path / "a", "-m", model).exit_code == 0
    moved.write_bytes(clip.read_bytes() + b"\0")
    assert "has changed" in one_line(here("decode", tmp_path / "a", "-o", tmp_path / "b.mp4", "--audio").stderr)
    moved.unlink()
    assert "--audio-from" in one_line(here("decode", tmp_path / "a", "-o", tmp_path / "b.mp4", "--audio").stderr)


def test_debug_shows_the_traceback(process: Process) -> None:
    result = process("info", "none", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_full_disk(model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A limit on file size stands in for the disk's: writing fails with EFBIG once SIGXFSZ is ignored, as in Python.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
        "from vidlatent.cli import main; sys.argv[0] = 'vidlatent'; main()"
    )
    command = [sys.executable, "-c", code, "encode", str(clip), "-o", "x", "-m", str(model)]
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert result.returncode == 1
    assert "x: cannot be written: File too large" in one_line(result.stderr)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("verb", "sent", "code"), [
    ("encode", signal.SIGINT, 130), ("encode", signal.SIGTERM, 143), ("reconstruct", signal.SIGINT, 130),
])  # fmt: skip
def test_a_signal_in_the_middle_leaves_nothing_torn(
    model: Path, long_clip: Path, tmp_path: Path, verb: str, sent: signal.Signals, code: int
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "latents.safetensors"
    target.write_bytes(b"precious")
    output = target if verb == "encode" else folder
    # A shell that runs tests in the background may have this signal ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = [sys.executable, "-m", "vidlatent", verb, str(long_clip), "-o", str(output), "-m", str(model)]
        running = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    while not any(name.startswith(".latents") for name in os.listdir(folder)):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(sent)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code, errors
    assert os.listdir(folder) == ["latents.safetensors"]
    assert target.read_bytes() == b"precious"
    assert "Traceback" not in errors
