"""What the steps of a sweep take is counted with its plan, and each of them is found there when it runs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vidlatent as vl
from vidlatent.nn import Chain, Conv3d, GroupNorm, Residual
from vidlatent.streaming import H, Plan, SlabStream, T, Window
from vidlatent.streaming.meter import to_meta
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.steps import Expected, modules_named, name_of
from vidlatent.streaming.sweep import Sweep

MODELS: dict[str, dict[str, Any]] = {
    "vidlatent-tiny": {},
    "wan-2.1": {"base_dim": 8},
    "hunyuan-video": {"widths": (8, 16, 16, 16), "groups": 4},
}
PLANS = (
    Plan((T,), chunk=1),
    Plan((H,), strip=4),
    Plan((T, H), chunk=1, strip=4),
    Plan((H, T), chunk=1, strip=4, keep="file"),
)


def convolution() -> Conv3d:
    return Conv3d(4, 4, t=Window.causal(3), h=Window.centred(3))


def counted(module: Any, shape: tuple[int, ...], plan: Plan) -> dict[str, int]:
    return dict(Predictor(to_meta(module), shape, torch.float32).needs(plan).step_bytes)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("model", MODELS)
@torch.no_grad()
def test_every_step_that_works_on_something_was_counted(
    model: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    ae = vl.build(model, **MODELS[model])
    latents = torch.randn(1, ae.latent_spec.channels, 8, 24, 4)
    known, names, seen = counted(ae.decoder, tuple(latents.shape), plan), modules_named(ae.decoder), set[str]()

    def begin(sweep: Sweep, step: Any, *inputs: Tensor | None) -> None:
        name = name_of(step, names)
        if name is not None and any(x.nbytes for x in inputs if x is not None):
            seen.add(name)

    monkeypatch.setattr(Sweep, "begin", begin)
    vl.streaming.run(ae.decoder, latents, plan)
    # of a first slab, which is one of several joined when it is counted, nothing is told
    first = {name for name in seen if name.endswith(" False False")}
    assert len(seen) > 40
    assert seen - first <= known.keys()


def test_a_layer_takes_its_answer_and_what_its_kernel_needs() -> None:
    module, frame = Chain(convolution(), convolution()), 4 * 4 * 16 * 16
    known = counted(module, (1, 4, 9, 16, 16), Plan((T,), chunk=1))
    weights = 4 * 4 * 3 * 3 * 3 * 4
    assert frame <= known["1"] <= 6 * frame + 2 * weights  # three frames padded, in another layout, and one answer
    assert known["1 2 True False"] == 5 * frame  # three joined, and two kept in what is a copy


def test_state_that_stays_on_the_device_is_copied_there() -> None:
    module, shape = Chain(convolution(), convolution()), (1, 4, 9, 16, 16)
    here, away = (counted(module, shape, Plan((T,), chunk=1, keep=keep)) for keep in ("device", "file"))
    assert here["1 2 True False"] > away["1 2 True False"]


def test_branches_and_barriers_have_steps() -> None:
    module = Chain(Residual(Chain(convolution(), GroupNorm(2, 4), convolution())))
    known = counted(module, (1, 4, 9, 16, 8), Plan((T, H), chunk=1, strip=4))
    assert {"0 branches", "0 sum", "0.body.1"} <= known.keys()
    assert known["0 sum"] == 4 * 4 * 4 * 8  # a strip


def test_plans_carry_what_steps_take() -> None:
    ae = vl.build("wan-2.1", base_dim=8)
    plan = ae.plan((1, 16, 5, 16, 16), "60MiB", "decode")
    assert plan.axes
    assert plan.step_bytes
    assert "step_bytes" not in repr(plan)
    assert plan == Plan(plan.axes, plan.chunk, plan.strip, plan.keep)


def test_what_was_counted_for_a_copy_is_found_by_name() -> None:
    tree = nn.ModuleDict({"a": nn.Identity(), "b": nn.Identity()})
    expected = Expected(tree, {"a": 5, "a 2 True": 7})
    assert expected.of(tree["a"], 100) == 5
    assert expected.of((tree["a"], 2, True), 100) == 7
    assert expected.of(tree["b"], 100) == 800
    assert expected.of("given", 100) == 100


def test_streams_save_what_steps_take() -> None:
    ae = vl.build("wan-2.1", base_dim=8)
    latents = torch.randn(1, 16, 3, 16, 16)
    stream = ae.stream_decoder(ae.plan((1, 16, 5, 16, 16), "60MiB", "decode", streaming=True))
    stream.push(latents[:, :, :1])
    other = ae.stream_decoder()
    other.load_state_dict(stream.state_dict())
    slabs = other._slabs
    assert isinstance(slabs, SlabStream)
    assert slabs.plan.step_bytes
    assert torch.equal(other.push(latents[:, :, 1:]), stream.push(latents[:, :, 1:]))
