"""Links of whole modules: from a list of (our module, theirs) to one link for each of their tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vidlatent.autoencoders.links import Link, Shape


@dataclass(frozen=True)
class Module:
    """One of our modules with weights, and the modules of theirs that it is made of, in equal parts.

    The tensors in both have the same names. `kernel_dims` is how many axes their kernels have: 3 for a video's, 2 for
    an image's, 0 for a linear layer.
    """

    ours: str
    theirs: str | tuple[str, ...]
    kernel_dims: int = 3


def link_modules(modules: Iterable[Module], shapes: Mapping[str, Shape]) -> list[Link]:
    """A link for every tensor of `shapes`; modules that a configuration lacks are passed over."""
    tensors: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        module, _, tensor = name.rpartition(".")
        tensors.setdefault(module, {})[tensor] = shape
    links = [link for module in modules for link in _links(module, tensors.get(module.ours, {}))]
    assert {link.ours for link in links} == set(shapes), set(shapes) - {link.ours for link in links}
    return links


def _links(module: Module, tensors: Mapping[str, Shape]) -> Iterator[Link]:
    names = (module.theirs,) if isinstance(module.theirs, str) else module.theirs
    for tensor, shape in tensors.items():
        part = _their_shape((shape[0] // len(names), *shape[1:]), module.kernel_dims)
        for index, name in enumerate(names):
            yield Link(f"{module.ours}.{tensor}", f"{name}.{tensor}", part, part=(index, len(names)))


def _their_shape(shape: Shape, kernel_dims: int) -> Shape:
    """Kernels as they keep them; axes that only they have are 1 long."""
    if len(shape) == 1:
        return shape
    kernel = (1, 1, 1, *shape[2:])
    return (*shape[:2], *kernel[len(kernel) - kernel_dims :])
