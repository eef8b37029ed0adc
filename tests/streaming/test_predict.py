"""Predictions from few slabs are what counting all of them gives."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import vidlatent as vl
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.streaming import H, Plan, T
from vidlatent.streaming.meter import to_meta
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.repeats import Repeats
from vidlatent.streaming.sample import Sample, Sampler
from vidlatent.streaming.sampled import SampledStream
from vidlatent.streaming.shelf import Keep
from vidlatent.streaming.tally import Needs

MODELS = {
    "wan-2.1": {"base_dim": 24},  # attention within frames
    "ltx-2": {},  # long waits
    "taehv": {},
    "mochi-1": {},  # many barriers, attention to the past
    "hunyuan-video": {},  # barriers over the clip
    "svd": {},
}
SLOW = ("ltx-2", "mochi-1", "hunyuan-video", "svd")
EACH = [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in MODELS]
ORDERS = ((T,), (H,), (T, H), (H, T))


def all_of_them(sampler: Sampler, plan: Plan, axis: int) -> Sample:
    thickness, length = plan.thickness(axis), sampler.shape[axis]
    slabs = (min(thickness, length - start) for start in range(0, length, thickness))
    return Sample(tuple(slabs), thickness, length)


def needs(model: str, direction: str, axes: tuple[int, ...]) -> Iterator[Needs]:
    """With state on the device and in a file, of a clip that is long along both axes."""
    ae = vl.build(model, **MODELS[model])
    spec = ae.latent_spec
    frames, rows = {"wan-2.1": (10, 28), "taehv": (10, 28), "ltx-2": (6, 40)}.get(model, (7, 16))
    size = (spec.num_frames(frames), rows * spec.stride[1], 4 * spec.stride[2])
    module, channels, grain = (
        (ae.encoder, 3, spec.stride) if direction == "encode" else (ae.decoder, spec.channels, (1, 1))
    )
    if direction == "decode":
        size = (frames, rows, 4)
    predictor = Predictor(to_meta(module), (1, channels, *size), torch.float32)
    places: tuple[Keep, ...] = ("device", "file")
    for keep in places:
        yield predictor.needs(Plan(axes, chunk=grain[0], strip=2 * grain[1], keep=keep))


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("model", EACH)
def test_few_slabs_tell_of_all(
    model: str, direction: str, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = list(needs(model, direction, axes))
    monkeypatch.setattr(Sampler, "sample", all_of_them)
    for guess, counted in zip(few, needs(model, direction, axes), strict=True):
        peaks = guess.peak_bytes - guess.code_bytes, counted.peak_bytes - counted.code_bytes
        most = 1.1 if len(axes) == 1 else 1.3  # what waits within a slab is taken at its most
        assert 0.95 * peaks[1] <= peaks[0] <= most * peaks[1]
        assert 0.93 * counted.state_bytes <= guess.state_bytes <= 1.1 * counted.state_bytes
        assert 0.75 * counted.calls <= guess.calls <= 1.4 * counted.calls
        assert 0.8 * counted.made_bytes <= guess.made_bytes <= 1.25 * counted.made_bytes


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("model", EACH)
def test_what_is_not_run_again_counts_as_if_it_were(
    model: str, direction: str, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = list(needs(model, direction, axes))
    monkeypatch.setattr(Repeats, "run", lambda _, __, method, args: method(*args))
    for few, all_runs in zip(quick, needs(model, direction, axes), strict=True):
        assert replace(few, at_peak=None) == replace(all_runs, at_peak=None)


def imported(*models: str) -> None:
    script = Path(__file__).with_name("plan_alone.py")
    done = subprocess.run([sys.executable, script, *models], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_planning_imports_nothing_large() -> None:
    """Torch's compiler and sympy take 30 to 70 MiB, which no budget knows of."""
    imported("wan-2.1", "ltx-video-0.9.5")


@pytest.mark.slow
def test_planning_imports_nothing_large_for_any_family() -> None:
    imported(*{CATALOG[name].family: name for name in vl.models()}.values())


def test_what_was_counted_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cycle of references holds a sweep's many states until garbage is collected."""
    made: list[weakref.ref[SampledStream]] = []
    begin = SampledStream.__init__

    def noted(stream: SampledStream, *args: Any) -> None:
        begin(stream, *args)
        made.append(weakref.ref(stream.sweep))

    monkeypatch.setattr(SampledStream, "__init__", noted)
    ae = vl.build("hunyuan-video", widths=(8, 8, 8, 8), groups=4)
    predictor = Predictor(to_meta(ae.decoder), (1, 16, 3, 8, 8), torch.float32)
    gc.disable()
    try:
        predictor.needs(Plan((T, H), chunk=1, strip=2))
        assert [sweep() for sweep in made] == [None]
    finally:
        gc.enable()
