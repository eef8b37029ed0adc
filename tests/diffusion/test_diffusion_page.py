"""The code of docs/diffusion.md runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "diffusion.md"


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the block about diffusers' pipelines, which needs one (tests/integrations has tiny ones)."""
    blocks = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("\n".join(block for block in blocks if "pipe." not in block), names)
    assert names["z"].shape == (1, 16, 1, 8, 8)
    assert names["rest"].ndim == 5
