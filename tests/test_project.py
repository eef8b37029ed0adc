"""The house: imports stay light, files stay small, examples run, the README's commands are there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "vidlatent").rglob("*.py"))


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=500).stdout


def test_importing_the_package_brings_torch_and_little_else() -> None:
    heavy = ("av", "decord", "imageio", "diffusers", "huggingface_hub", "pydantic", "typer", "rich", "accelerate")
    loaded = run(sys.executable, "-c", "import sys, vidlatent; print(*sys.modules)").split()
    assert not set(heavy) & set(loaded)


def test_every_public_name_is_there() -> None:
    import vidlatent as vl

    missing = [name for name in dir(vl) if not hasattr(vl, name)]
    assert not missing


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    folders = ("vidlatent", "tests", "docs", "configs", "tools", "examples", "benchmarks")
    files = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in (".py", ".md", ".yaml")]
    pattern = re.compile(r"/(?:work|opt|root|home)/[a-z]")
    assert not [str(p) for p in files if pattern.search(p.read_text())]


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("run", "test"):
        found = re.search(rf"<!-- ci: {name} -->\n```sh\n(.+)\n```", readme)
        assert found, name
        assert "vidlatent reconstruct examples/" in found[1] or "pytest" in found[1]


def test_the_code_of_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    run(sys.executable, "-c", "\n".join(blocks))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example: Path) -> None:
    assert run(sys.executable, str(example))
