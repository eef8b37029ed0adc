"""Every verb does what it says, in text and as JSON."""

import json
import os
from pathlib import Path

import pytest
from cli_helpers import Here, Process

import vidlatent
from vidlatent.latents import open_latents

VERBS = ["reconstruct", "encode", "decode", "info", "models", "plan"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(here: Here, verb: str) -> None:
    result = here(verb, "--help")
    assert result.exit_code == 0
    assert f"Example:  vidlatent {verb}" in result.stdout


def test_help_does_not_wait_for_torch(process: Process, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    result = process("--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(verb in result.stdout for verb in VERBS)
    assert process("--version", cwd=tmp_path).stdout == f"vidlatent {vidlatent.__version__}\n"


def test_encode_and_decode(process: Process, model: Path, clip: Path, tmp_path: Path) -> None:
    result = process("encode", clip, "-o", tmp_path / "a.safetensors", "-m", model, "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert (record["frames"], record["shape"], record["dtype"]) == (30, [9, 16, 8, 8], "float16")
    assert "encode: 30/30 frames" in result.stderr
    with open_latents(tmp_path / "a.safetensors") as latents:
        latents.verify()
        assert latents.meta.model == str(model)
    result = process("decode", tmp_path / "a.safetensors", "-o", tmp_path / "b.mp4", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["frames"] == 30
    with vidlatent.open_video(tmp_path / "b.mp4") as source:
        assert sum(part.num_frames for part in source) == 30
        assert (source.height, source.width, source.spec.fps) == (64, 64, 25)
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.mp4"]


def test_a_budget_changes_nothing(here: Here, model: Path, clip: Path, tmp_path: Path) -> None:
    for name, options in (("a", ()), ("b", ("--memory", "60MB"))):
        result = here("encode", clip, "-o", tmp_path / name, "-m", model, "--dtype", "float32", *options)
        assert result.exit_code == 0, result.output
    with open_latents(tmp_path / "a") as one, open_latents(tmp_path / "b") as other:
        assert (one.read() - other.read()).abs().max() < 1e-4


def test_a_part_of_a_clip(here: Here, model: Path, clip: Path, tmp_path: Path) -> None:
    part = ("--start", "0:00.4", "--stop", "0.8", "--size", "32x48", "--fps", "12.5")
    result = here("encode", clip, "-o", tmp_path / "a", "-m", model, "--json", *part)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["frames"], record["height"], record["width"], record["fps"]) == (5, 32, 48, "25/2")
    assert record["source"]["start_seconds"] == "2/5"


def test_reconstruct(process: Process, model: Path, clip: Path, tmp_path: Path) -> None:
    result = process("reconstruct", clip, "-o", tmp_path / "out", "-m", model, "--memory", "100MB", "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["frames"] == 30
    assert 3 < record["psnr"] < 60
    assert -1 <= record["ssim"] <= 1
    # 16 numbers of 2 bytes for 4x8x8 pixels, but for the first frame, which has a latent of its own.
    assert record["bits_per_pixel"] == pytest.approx(9 * 16 * 16 / (30 * 64), rel=1e-4)
    assert record["value_compression"] == pytest.approx(3 * 30 * 64 / (9 * 16), abs=0.01)
    assert {Path(path).name for path in record["files"].values()} == set(os.listdir(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == record
    page = (tmp_path / "out" / "report.html").read_text()
    assert "side_by_side.mp4" in page
    assert page.count('src="data:image/jpeg;base64,') == 4
    with vidlatent.open_video(tmp_path / "out" / "side_by_side.mp4") as source:
        assert sum(part.num_frames for part in source) == 30
        assert source.width >= 3 * 64


def test_reconstruct_names_its_folder_and_prints_a_table(
    here: Here, model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = here("reconstruct", clip, "-m", model, "--stop", "0.2", "--size", "8x8")
    assert result.exit_code == 0, result.output
    assert os.listdir(tmp_path) == ["clip-narrow"]
    for word in ("PSNR", "too small", "bits per pixel", "clip-narrow/report.html"):
        assert word in result.stdout


def test_info_of_each_kind(here: Here, model: Path, clip: Path, tmp_path: Path) -> None:
    latents = tmp_path / "a.safetensors"
    assert here("encode", clip, "-o", latents, "-m", model).exit_code == 0
    for thing, kind in ((clip, "clip"), (latents, "latents"), (model, "model"), ("vidlatent-tiny", "model")):
        record = json.loads(here("info", thing, "--json").stdout)
        assert record["kind"] == kind
        text = here("info", thing).stdout
        assert str(thing) in text.replace("\n", "")
    assert json.loads(here("info", clip, "--json").stdout)["fps"] == "25"
    assert here("info", latents, "--verify").exit_code == 0
    changed = bytearray(latents.read_bytes())
    changed[-100] ^= 1
    latents.write_bytes(changed)
    assert here("info", latents).exit_code == 0
    assert here("info", latents, "--verify").exit_code == 1


def test_models(here: Here) -> None:
    records = json.loads(here("models", "--json").stdout)["models"]
    assert [record["name"] for record in records] == vidlatent.models()
    for record in records:
        assert record["parameters"] > 10**6
        assert record["licence"]
        assert (record["upstream"] or "").startswith("https://") == (record["family"] not in ("tiny", "configurable"))
    text = here("models").stdout
    assert all(record["upstream"] in text for record in records if record["upstream"])
    assert all(name in text for name in vidlatent.models())


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_plan(here: Here, direction: str) -> None:
    arguments = ("plan", "vidlatent-tiny", "--video", "81x240x416", "--memory", "300MB", "--direction", direction)
    record = json.loads(here(*arguments, "--json").stdout)
    assert 0 < record["peak_bytes"] <= record["memory_bytes"] == 300_000_000
    assert set(record["axes"]) <= {"T", "H"}
    assert "predicted peak" in here(*arguments).stdout


@pytest.mark.data
def test_a_real_clip_with_the_packaged_model(here: Here, data_dir: Path, tmp_path: Path) -> None:
    clip = data_dir / "natural" / "test" / "cosmos_cooks_704p.mp4"
    result = here("reconstruct", clip, "-o", tmp_path / "out", "--size", "128", "--stop", "0.5", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["psnr"] > 24
