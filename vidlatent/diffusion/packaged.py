"""Models whose weights come with the package."""

from __future__ import annotations

from pathlib import Path

from vidlatent.errors import ModelError

_WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "bounce"


def packaged_models() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in _WEIGHTS.glob("*.safetensors"))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a packaged model, or of one that `save_model` wrote. Raises `ModelError` where there is none."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    packaged = _WEIGHTS / f"{name_or_path}.safetensors"
    if packaged.is_file():
        return packaged
    names = ", ".join(packaged_models())
    raise ModelError(f"{name_or_path}: neither a file nor a packaged diffusion model; packaged are {names}")
