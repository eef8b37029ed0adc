"""Every family does with half of what its whole clip takes, with the same answer; errors name a layer."""

import pytest
import torch
from narrow_models import NARROW
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.errors import BudgetTooSmall
from vidlatent.streaming import Plan, search
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


def half(ae: Autoencoder, x: Tensor, direction: str) -> int:
    """Half of what the whole clip takes beside weights, clip and answer."""
    plan = ae.plan(tuple(x.shape), 1 << 50, direction)
    assert not plan.axes
    answer = ae.room_for(direction, x)
    held = sum(p.nbytes for p in ae.parameters()) + x.nbytes
    return held + answer.nbytes + (plan.peak_bytes - held) // 2


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("preset", NARROW)
def test_half_the_memory_gives_the_same_answer(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "with_slack", lambda counted, device: counted)  # more than all of so small a clip
    ae, seed = build(preset, **NARROW[preset]), torch.Generator().manual_seed(0)
    t, h, w = ae.latent_spec.stride
    clip = torch.rand(1, 3, 1 + 2 * t, 16 * h, 2 * w, generator=seed) * 2 - 1
    latents = ae.encode(clip).mean
    video = ae.run_whole("decode", latents, Plan())
    for direction, x, want in (("encode", clip, latents), ("decode", latents, video)):
        plan = plan_for(ae, x, half(ae, x, direction), direction)
        assert plan.axes
        got = ae.run_whole(direction, x, plan)[:, : want.shape[1]]
        assert relative_error(got, want) <= 1e-5


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
