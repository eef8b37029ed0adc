"""`vidlatent evaluate` as it is typed."""

import json
from pathlib import Path

from cli_helpers import Here


def test_it_measures_and_shows(here: Here, clip: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--model", model, "--baselines", "bicubic@2", "--frames", 5, "--size", "48x64", "-o", out)
    result = here("evaluate", clip, *options)
    assert result.exit_code == 0, result.output
    assert "narrow" in result.stdout
    assert "PSNR (dB)" in result.stdout
    page = (out / "report.html").read_text()
    assert "bicubic@2" in page
    for name in ("results.parquet", "summary.json", "protocol.json"):
        assert (out / name).stat().st_size > 0
    again = here("evaluate", clip, *options, "--json")
    record = json.loads(again.stdout)
    assert record["resumed"] == 2
    assert {candidate["candidate"] for candidate in record["candidates"]} == {"narrow", "bicubic@2"}
    other = here("evaluate", clip, *options, "--probe")
    assert other.exit_code == 1
    assert "another protocol" in other.output


def test_what_cannot_be_evaluated_fails_in_one_line(here: Here, clip: Path, tmp_path: Path) -> None:
    short = here("evaluate", clip, "--baselines", "bicubic@2", "--frames", 99, "-o", tmp_path / "out")
    assert short.exit_code == 1
    assert "no clip could be evaluated" in short.output
    assert "has 30 frames" in short.output
    assert (tmp_path / "out" / "report.html").exists()
    for arguments in (
        ("-m", "no-such-model"),
        ("--baselines", "mpeg9"),
        (),
        ("-m", "vidlatent-tiny", "--device", "warp:1"),
    ):
        result = here("evaluate", clip, *arguments, "-o", tmp_path / "none")
        assert result.exit_code == 1, arguments
        assert "error: " in result.output
    assert here("evaluate", clip).exit_code == 2
