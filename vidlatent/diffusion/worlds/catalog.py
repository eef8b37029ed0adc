"""Worlds by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vidlatent.diffusion.worlds.bounce import Bounce
from vidlatent.diffusion.worlds.maze import Maze
from vidlatent.diffusion.worlds.planes import Planes
from vidlatent.diffusion.worlds.world import World
from vidlatent.errors import InputError

WORLDS: dict[str, Callable[..., World]] = {"bounce": Bounce, "planes": Planes, "maze": Maze}


def build_world(name: str, **options: Any) -> World:
    """The world `name` with its own options, such as `size=64`. Raises `InputError` for an unknown name or option."""
    if name not in WORLDS:
        raise InputError(f"world {name!r}: allowed are {', '.join(WORLDS)}")
    try:
        return WORLDS[name](**options)
    except TypeError as error:
        raise InputError(f"world {name!r}: {error}") from error
