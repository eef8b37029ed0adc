"""Whether frames obey the laws of the bouncing world, read from the frames alone.

With c_t the centre parsed from frame t, s frames apart (s = the autoencoder's stride in time, so that what it blurs
within one latent does not count), and v_t = (c_{t+s} - c_t) / s:

    inertia  |c_{t+s} - 2 c_t + c_{t-s}| / s       where nothing is near enough to be hit        pixels per frame
    bounce   ||v_out| - |v_in|| / max of both      across a wall
    energy   |sum m v^2 - its value at the start| / max of both                                    m = r^2
    momentum |sum m dv| / sum m |dv|               where two discs met, away from the walls

None needs the true future, so they hold for generated clips of any length. Frames around one that lacks a disc say
nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MARGIN = 2.0  # pixels around a contact in which neither flight nor bounce is told
_LEAST_EXCHANGE = 0.3  # of the momentum carried: discs that pass each other close by did not meet


def law_residuals(state: dict[str, Tensor], size: int, *, stride: int = 4) -> dict[str, Tensor]:
    """Per-frame residuals (T,) of `parse`d states; nan where a law says nothing, and at both ends."""
    centre, radius = state["position"], state["radius"]
    total = len(centre)
    nothing = centre.new_full((total,), torch.nan)
    names = ("inertia", "bounce", "energy", "momentum", "speed")
    if total < 4 * stride + 1:
        return {name: nothing.clone() for name in names}
    before, now, after = centre[: -2 * stride], centre[stride:-stride], centre[2 * stride :]
    incoming, outgoing = (now - before) / stride, (after - now) / stride
    wall, pair, missing = _near_wall(centre, radius, size), _near_pair(centre, radius), radius == 0
    contact, gone = _around(wall | pair, stride), _around(missing.any(1), stride)
    turn = (outgoing - incoming).norm(dim=-1)
    found = {
        "inertia": torch.where(contact, torch.nan, turn).nanmean(1),
        "speed": outgoing.norm(dim=-1).mean(1),
        "energy": _energy(outgoing, radius[stride:-stride], contact | gone[:, None]),
    }
    result = {name: _padded(torch.where(gone, torch.nan, values), stride, total) for name, values in found.items()}
    result["bounce"] = _bounce(centre, wall, pair | missing, stride)
    result["momentum"] = _momentum(centre, radius, wall | missing, pair, stride)
    return result


def conserved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What may not change in a clip, per frame (T, ...): hue as a unit vector, so that differences are chords."""
    hue = torch.stack([state["hue"].cos(), state["hue"].sin()], -1)
    return {"hue": hue} | {name: state[name] for name in ("radius", "saturation", "brightness", "gradient")}


def _around(flags: Tensor, stride: int) -> Tensor:
    """Whether any frame up to `stride` before or after is flagged, where there are so many on both sides."""
    return flags.float().unfold(0, 2 * stride + 1, 1).amax(-1) > 0


def _near_wall(centre: Tensor, radius: Tensor, size: int) -> Tensor:
    reach = (radius + _MARGIN)[..., None]
    return ((centre < reach) | (centre > size - reach)).any(-1)


def _near_pair(centre: Tensor, radius: Tensor) -> Tensor:
    gap = (centre[:, :, None] - centre[:, None]).norm(dim=-1) - radius[:, :, None] - radius[:, None]
    gap = gap + torch.diag_embed(torch.full_like(radius, torch.inf))
    return (gap < _MARGIN).any(-1)


def _energy(velocity: Tensor, radius: Tensor, contact: Tensor) -> Tensor:
    """Of the free steps, against the median of the first quarter of them (at most 12)."""
    energy = (radius.square() * velocity.square().sum(-1)).sum(1)
    free = ~contact.any(1)
    start = energy[free][: max(1, min(12, int(free.sum()) // 4))].median() if free.any() else energy.new_tensor(1.0)
    return torch.where(free, _relative(energy, start), torch.nan)


def _contacts(near: Tensor) -> list[tuple[int, int]]:
    """Runs [start, stop) of a boolean sequence."""
    steps = torch.diff(near.int(), prepend=near.new_zeros(1).int(), append=near.new_zeros(1).int())
    return list(zip((steps == 1).nonzero().flatten().tolist(), (steps == -1).nonzero().flatten().tolist(), strict=True))


def _across(centre: Tensor, start: int, stop: int, stride: int) -> tuple[Tensor, Tensor] | None:
    """Velocities over `stride` frames before and after a contact, if the clip and the flight are long enough."""
    if start - 1 - stride < 0 or stop + stride >= len(centre):
        return None
    return (centre[start - 1] - centre[start - 1 - stride]) / stride, (centre[stop + stride] - centre[stop]) / stride


def _bounce(centre: Tensor, wall: Tensor, spoiled: Tensor, stride: int) -> Tensor:
    residual = centre.new_full((len(centre),), torch.nan)
    for disc in range(centre.shape[1]):
        for start, stop in _contacts(wall[:, disc]):
            around = slice(max(start - stride, 0), stop + stride + 1)
            sides = _across(centre[:, disc], start, stop, stride)
            quiet = not spoiled[around, disc].any() and int(wall[around, disc].sum()) == stop - start
            if sides is not None and quiet:
                before, after = sides[0].norm(), sides[1].norm()
                residual[stop] = _relative(after, before)
    return residual


def _momentum(centre: Tensor, radius: Tensor, spoiled: Tensor, pair: Tensor, stride: int) -> Tensor:
    residual = centre.new_full((len(centre),), torch.nan)
    for start, stop in _contacts(pair.any(1)):
        around = slice(max(start - 1 - stride, 0), stop + stride + 1)
        sides = _across(centre, start, stop, stride)
        if sides is not None and not spoiled[around].any():
            mass = radius[start - 1].square()[:, None]
            impulse = mass * (sides[1] - sides[0])
            exchanged, carried = impulse.norm(dim=-1).sum(), (mass * sides[0]).norm(dim=-1).sum()
            if exchanged > _LEAST_EXCHANGE * carried:
                residual[stop] = impulse.sum(0).norm() / exchanged
    return residual


def _relative(first: Tensor, second: Tensor) -> Tensor:
    """How far apart two positive numbers are, from 0 to 1."""
    return (first - second).abs() / torch.maximum(first, second).clamp_min(1e-6)


def _padded(values: Tensor, stride: int, total: int) -> Tensor:
    full = values.new_full((total,), torch.nan)
    full[stride : total - stride] = values
    return full
