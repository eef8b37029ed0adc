"""How far generated clips have drifted at 1x, 4x, 16x the training length, and how sure that is.

A window at the end of each length is compared with the first window of the same clip: conserved attributes as
distances from the start, in units of how much clips differ from each other (1 = another clip); laws as they are.
Motion stands beside drift: a frozen clip does not drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vidlatent.diffusion.worlds.bounce import Bounce
from vidlatent.diffusion.worlds.laws import conserved, law_residuals
from vidlatent.diffusion.worlds.parse import parse

WINDOW = 16


def clip_measures(
    video: Tensor, world: Bounce, *, lengths: Sequence[int], window: int = WINDOW, stride: int = 4
) -> dict[int, dict[str, float]]:
    """Measures of one clip (3, T, H, W), in the window of frames that ends at each of `lengths`.

    Keys: each attribute's drift and their mean `drift`, `residual` (distance from the manifold), each law's residual,
    `count` (share of frames without exactly the right number of discs), `motion` (speed, pixels per frame).
    A measure that the window says nothing about, as when nothing bounced, is nan.
    """
    state = parse(video, world.num_discs)
    laws = law_residuals(state, world.size, stride=stride)
    kept = conserved(state)
    return {length: _at(length, window, state, laws, kept, world) for length in lengths if length <= video.shape[1]}


def _at(
    length: int,
    window: int,
    state: Mapping[str, Tensor],
    laws: dict[str, Tensor],
    kept: dict[str, Tensor],
    world: Bounce,
) -> dict[str, float]:
    late = slice(length - window, length)
    # Laws need frames on both sides, and events to judge: a window of three, ending where frames still have a future.
    wide = slice(max(0, length - 3 * window), length)
    spread = _spread(world)
    measures = {name: _distance(values, window, late) / spread[name] for name, values in kept.items()}
    if (state["count"][:window].median() != world.num_discs) or (state["count"][late].median() != world.num_discs):
        measures |= dict.fromkeys(("hue", "radius", "saturation"), float("nan"))  # of what is not there
    known = [value for value in measures.values() if value == value]
    measures["drift"] = sum(known) / len(known)
    measures["residual"] = float(state["residual"][late].mean())
    measures["count"] = float((state["count"][late] != world.num_discs).float().mean())
    measures |= {name: float(laws[name][wide].nanmean()) for name in ("inertia", "bounce", "energy", "momentum")}
    measures["motion"] = float(laws["speed"][wide].nanmean())
    return measures


def _spread(world: Bounce) -> dict[str, float]:
    """How much clips of this world differ: standard deviations of uniform draws; a hue's chord and saturation are 1."""
    radius = (world.radius[1] - world.radius[0]) * world.size / 64
    brightness, gradient = world.brightness[1] - world.brightness[0], 2 * world.gradient * 2**0.5
    uniform = {"radius": radius, "brightness": brightness, "gradient": gradient}
    return {"hue": 1.0, "saturation": 1.0} | {name: width / 12**0.5 for name, width in uniform.items()}


def _distance(values: Tensor, window: int, late: slice) -> float:
    values = values.reshape(len(values), -1)
    first, last = values[:window].median(0).values, values[late].median(0).values
    return float((last - first).norm())


def horizon(video: Tensor, truth: Tensor, world: Bounce) -> int:
    """First frame whose parsed centre lies more than a radius from the true position (T, K, 2); T if none does."""
    state = parse(video, world.num_discs)
    away = (state["position"][: len(truth)] - truth).norm(dim=-1) > state["radius"][: len(truth)]
    late = away.any(1).nonzero()
    return int(late[0]) if len(late) else len(truth)


def bootstrap(
    groups: Sequence[Sequence[float]], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of all values without nans, and the ends of its percentile bootstrap interval; nan if nothing is left.

    Groups (training seeds) are drawn with replacement, then values (clips) within each group drawn.
    """
    kept = [torch.tensor([v for v in group if v == v], dtype=torch.float64) for group in groups]
    kept = [group for group in kept if len(group)]
    if not kept:
        return (float("nan"),) * 3
    generator = torch.Generator().manual_seed(seed)
    means = torch.empty(resamples, dtype=torch.float64)
    for index in range(resamples):
        drawn = [kept[g] for g in torch.randint(len(kept), (len(kept),), generator=generator).tolist()]
        parts = [group[torch.randint(len(group), (len(group),), generator=generator)] for group in drawn]
        means[index] = torch.cat(parts).mean()
    low, high = means.quantile(means.new_tensor([(1 - level) / 2, (1 + level) / 2])).tolist()
    return float(torch.cat(kept).mean()), low, high
