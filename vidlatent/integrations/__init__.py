"""Guests: other libraries' models and pipelines, served by ours. Each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidlatent.integrations import diffusers as diffusers
    from vidlatent.integrations import diffusers_dit as diffusers_dit

_GUESTS = ("diffusers", "diffusers_dit")


def __getattr__(name: str) -> Any:
    if name in _GUESTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_GUESTS})
