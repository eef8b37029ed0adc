"""Foreign names of our tensors, by rules: for models whose modules are named much as theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence

Rule = tuple[str, str]
"""A regular expression, and what stands in its place."""


def rename(name: str, rules: Sequence[Rule]) -> str:
    """Apply every rule in turn, wherever it matches."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
