"""The steps that a sweep begins, and what each of them is expected to take while it runs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from sys import intern

from torch import nn

_TIMES = 8
"""A step of a layer of which nothing is known is expected to take so many times its input."""


def modules_named(root: nn.Module) -> dict[nn.Module, str]:
    """Names of modules, by which what is known of one of two equal trees is found for the other."""
    return {module: name for name, module in root.named_modules()}


class Expected:
    """What steps of a sweep of `root` will take, of which `counted` tells by name."""

    def __init__(self, root: nn.Module, counted: Mapping[str, int]) -> None:
        self._names, self._counted = modules_named(root), counted
        self._known: dict[Hashable, int | None] = {}

    def of(self, step: Hashable, nbytes: int) -> int:
        """Bytes that `step` may take while it works on so many; what was not counted takes a multiple of them."""
        if step not in self._known:
            name = name_of(step, self._names)
            self._known[step] = None if name is None else self._counted.get(name)
        known = self._known[step]
        return nbytes * (1 if isinstance(step, str) else _TIMES) if known is None else known


def name_of(step: Hashable, names: Mapping[nn.Module, str]) -> str | None:
    """A module's name and what it does; None for what is no module's."""
    module, *does = step if isinstance(step, tuple) else (step,)
    if not isinstance(module, nn.Module) or module not in names:
        return None
    return intern(" ".join([names[module], *map(str, does)]))  # the same in every plan
