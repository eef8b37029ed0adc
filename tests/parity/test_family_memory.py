"""Every family does with half and a quarter of what its whole clip takes, with the same answer, or names a layer."""

import pytest
import torch
from narrow_models import NARROW
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.errors import BudgetTooSmall
from vidlatent.streaming import Plan, meter, search, tally
from vidlatent.streaming.module import Barrier, Local, Pointwise
from vidlatent.testing import relative_error


def plan_for(ae: Autoencoder, x: Tensor, budget: int, direction: str) -> Plan:
    """A plan within the budget, or the smallest that the error names, along with a layer."""
    try:
        return ae.plan(tuple(x.shape), budget, direction)
    except BudgetTooSmall as error:
        layer = str(error).split("at layer '")[1].split("'")[0]
        ae.tree(direction).get_submodule(layer)
        return ae.plan(tuple(x.shape), error.smallest_bytes, direction)


def part_of(ae: Autoencoder, x: Tensor, direction: str, share: int) -> int:
    """Weights, clip and answer, and 1 / `share` of what the whole clip takes beside them."""
    plan = ae.plan(tuple(x.shape), 1 << 50, direction)
    assert not plan.axes
    answer = ae.room_for(direction, x)
    held = sum(p.nbytes for p in ae.parameters()) + x.nbytes
    return held + answer.nbytes + (plan.peak_bytes - held) // share


LONG = (
    *("allegro", "cogvideox-2b", "mochi-1", "svd", "hunyuan-video", "kvae-1", "wf-vae-l-16", "cosmos-0.1-di8x8"),
    *("easyanimate-5", "flux.1", "minimax-h3", "cosmos-1.0"),
)
"""Barriers at every level, or many branches, make these long to plan."""

WHOLE = ("cosmos-0.1-di8x8", "minimax-h3", "wf-vae-l-16")
"""At so tiny a width no slab takes less than the clip: the smallest budget, which the error names, is the whole's."""


ROUNDING = {"allegro": 2e-5}
"""Whole and in pieces it is as far as 1.1e-5 from float64 each, where both agree to 2e-14."""


def count_tensors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out allowances and compiled code, which are more than all of so small a clip."""
    monkeypatch.setattr(search, "with_slack", lambda counted, device, **_: counted)
    monkeypatch.setattr(meter, "CODE_BYTES", 0)
    monkeypatch.setattr(tally, "_OBJECT_BYTES", 0)


@pytest.mark.parametrize("preset", [pytest.param(p, marks=[pytest.mark.slow] * (p in LONG)) for p in NARROW])
def test_half_the_memory_gives_the_same_answer(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count_tensors_alone(monkeypatch)
    assert_the_same_answer(preset, 2, (16, 2))


@pytest.mark.slow
@pytest.mark.parametrize("preset", NARROW)
def test_a_quarter_of_the_memory_gives_the_same_answer(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count_tensors_alone(monkeypatch)
    assert_the_same_answer(preset, 4, (24, 12))


@torch.no_grad()
def assert_the_same_answer(preset: str, share: int, size: tuple[int, int]) -> None:
    """In both directions, of a clip of three latent frames and so many latent rows and columns."""
    ae, seed = build(preset, **NARROW[preset]), torch.Generator().manual_seed(0)
    t, h, w = ae.latent_spec.stride
    clip = torch.rand(1, 3, 1 + 2 * t, size[0] * h, size[1] * w, generator=seed) * 2 - 1
    latents = ae.encode(clip).mean
    video = ae.run_whole("decode", latents, Plan())
    for direction, x, want in (("encode", clip, latents), ("decode", latents, video)):
        plan = plan_for(ae, x, part_of(ae, x, direction, share), direction)
        assert plan.axes or preset in WHOLE
        got = ae.run_whole(direction, x, plan)[:, : want.shape[1]]
        assert relative_error(got, want) <= ROUNDING.get(preset, 1e-5)


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_a_budget_too_small_names_the_layer_that_needs_most(direction: str) -> None:
    ae = build("sd", **NARROW["sd"])
    shape = (1, 3, 1, 16, 512) if direction == "encode" else (1, 4, 1, 2, 64)
    with pytest.raises(
        BudgetTooSmall, match=r"for weights and what else is held, most at layer '[a-z_0-9.]+'"
    ) as refused:
        ae.plan(shape, 1, direction)
    named = str(refused.value).split("'")[1]
    assert isinstance(ae.tree(direction).get_submodule(named), (Local, Barrier, Pointwise))


def test_every_family_is_here() -> None:
    assert {CATALOG[preset].family for preset in NARROW} == {entry.family for entry in CATALOG.values()}
