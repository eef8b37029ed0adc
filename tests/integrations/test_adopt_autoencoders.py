"""An adopted autoencoder has the face of the one it replaces, and our memory behind it."""

import gc
import logging
import weakref
from pathlib import Path

import diffusers
import pytest
import torch
from narrow_models import NARROW, theirs
from tiny_pipelines import PIPELINES

import vidlatent as vl
from vidlatent.autoencoders import build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.errors import BudgetTooSmall, InputError, ModelError
from vidlatent.integrations.diffusers import adopt, from_diffusers
from vidlatent.streaming import planner
from vidlatent.testing import relative_error

OTHERS = ("kvae-1", "vidtok-kl-488-4")
"""They are refused."""
NARROWED_OTHERWISE = ("minimax-h3",)
"""What makes it narrow, the size of its tiles, is no key of diffusers' configuration: ours cannot be made theirs."""


def class_name(preset: str) -> str:
    published = FAMILIES[CATALOG[preset].family].published
    return published.class_name if published else ""


WITH_CLASS = [
    preset
    for preset in NARROW
    if hasattr(diffusers, class_name(preset)) and preset not in (*OTHERS, *NARROWED_OTHERWISE)
]


def inputs(vae: torch.nn.Module, preset: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A clip or a batch of images, and latents for it."""
    ae = build(preset, **NARROW[preset])
    t, h, w = ae.latent_spec.stride
    generator = torch.Generator().manual_seed(0)
    is_image = isinstance(
        vae, diffusers.AutoencoderKL | diffusers.AutoencoderDC | diffusers.AutoencoderKLTemporalDecoder
    )
    frames, few = ((), ()) if is_image else ((1 + t,), (3,))
    clip = torch.rand(3 if is_image else 1, 3, *frames, 2 * h, 2 * w, generator=generator) * 2 - 1
    return clip, torch.randn(len(clip), ae.latent_spec.channels, *few, 2, 2, generator=generator)


def assert_clamped(got: torch.Tensor, want: torch.Tensor) -> None:
    """Equal within the range of pixels, up to 1e-5 of the largest value that was computed."""
    assert got.shape == want.shape
    assert (got - want.clamp(-1, 1)).abs().max() <= 1e-5 * want.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("preset", [p for p in WITH_CLASS if p != "allegro"])
def test_calls_return_what_those_of_the_replaced_class_do(preset: str) -> None:
    vae = theirs(preset)
    ours = adopt(vae, memory="1GiB")
    clip, latents = inputs(vae, preset)
    want, got = vae.encode(clip), ours.encode(clip)
    assert type(got) is type(want)
    if hasattr(want, "latent"):
        assert relative_error(got.latent, want.latent) <= 1e-5
        assert relative_error(ours.encode(clip, return_dict=False)[0], want.latent) <= 1e-5
    else:
        draws = [d.sample(torch.Generator().manual_seed(1)) for d in (got.latent_dist, want.latent_dist)]
        assert relative_error(*draws) <= 1e-5
        assert relative_error(got.latent_dist.mode(), want.latent_dist.mode()) <= 1e-5
        assert isinstance(ours.encode(clip, return_dict=False)[0], type(want.latent_dist))
    told = {"num_frames": 3} if preset == "svd" else {}
    told |= {"temb": torch.full((1,), 0.3)} if vae.config.get("timestep_conditioning") else {}
    want, got = vae.decode(latents, **told), ours.decode(latents, **told)
    assert type(got) is type(want)
    assert_clamped(got.sample, want.sample)
    assert torch.equal(ours.decode(latents, **told, return_dict=False)[0], got.sample)


@pytest.mark.parametrize("preset", WITH_CLASS)
def test_everything_plain_stays_as_it_was(preset: str, tmp_path: Path) -> None:
    vae = theirs(preset)
    ours = adopt(vae)
    assert isinstance(ours, type(vae))
    assert dict(ours.config) == dict(vae.config)
    assert (ours.dtype, ours.device, ours.training) == (vae.dtype, vae.device, vae.training)
    names = ("spatial_compression_ratio", "temporal_compression_ratio", "temperal_downsample", "latents_mean")
    for name in (name for name in names if name not in vae.config):
        assert hasattr(ours, name) == hasattr(vae, name)
        assert str(getattr(ours, name, None)) == str(getattr(vae, name, None))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in vae.parameters())
    assert ours.to(torch.bfloat16).dtype == torch.bfloat16
    ours.float().save_pretrained(tmp_path, safe_serialization=True)
    back = type(vae).from_pretrained(tmp_path, local_files_only=True).state_dict()
    assert all(
        torch.equal(back[key], value.bfloat16().float())
        for key, value in vae.state_dict().items()
        if "latents_" not in key
    )


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("preset", ["wan-2.1", "ltx-video-0.9.0", "cogvideox-2b", "mochi-1"])
def test_half_precision_is_no_further_from_float32_than_theirs(preset: str, dtype: torch.dtype) -> None:
    vae = theirs(preset)
    clip, latents = inputs(vae, preset)
    want = vae.encode(clip).latent_dist.mean, vae.decode(latents).sample.clamp(-1, 1)
    vae = vae.to(dtype)
    ours = adopt(vae, memory="1GiB")
    assert (ours.dtype, {p.dtype for p in ours.parameters()}) == (dtype, {dtype})
    errors = []
    for model in (ours, vae):
        got = model.encode(clip.to(dtype)).latent_dist.mean, model.decode(latents.to(dtype)).sample.clamp(-1, 1)
        assert {part.dtype for part in got} == {dtype}
        errors.append([(g.float() - w).square().mean().sqrt().item() for g, w in zip(got, want, strict=True)])
    assert all(here <= 1.5 * there for here, there in zip(*errors, strict=True))


@torch.no_grad()
def test_hooks_that_move_weights_run_before_every_call() -> None:
    """What offloading of accelerate and diffusers hangs on."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    called = []

    class Spy(ModelHook):
        def pre_forward(self, module: torch.nn.Module, *args: object, **rest: object) -> tuple:
            called.append(type(module).__name__)
            return args, rest

    vae = adopt(theirs("wan-2.1"))
    add_hook_to_module(vae, Spy())
    vae.decode(vae.encode(torch.zeros(1, 3, 5, 16, 16)).latent_dist.mean)
    assert called == ["AutoencoderKLWan"] * 2


@torch.no_grad()
def test_a_timestep_for_each_video_of_a_batch() -> None:
    vae = theirs("ltx-video-0.9.5")
    ours, latents, steps = adopt(vae), torch.randn(2, 8, 2, 2, 2), torch.tensor([0.1, 0.6])
    assert_clamped(ours.decode(latents, steps).sample, vae.decode(latents, steps).sample)


@torch.no_grad()
def test_noise_comes_from_the_generator_of_torch() -> None:
    changes = {"inject_noise": (True, True, False, False)}
    ae = build("ltx-video-0.9.5", **NARROW["ltx-video-0.9.5"], **changes)
    for name, parameter in ae.named_parameters():
        if "noise" in name:
            parameter.fill_(0.5)
    values = vl.autoencoders.diffusers_format.adapter("ltx-video").write_config(ae.config)
    vae = diffusers.AutoencoderKLLTXVideo(**{k: v for k, v in values.items() if k[0] != "_"})
    ours, latents = adopt(vae), torch.randn(1, 8, 1, 2, 2)
    ours.ae.load_state_dict(ae.state_dict())
    videos = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        videos.append(ours.decode(latents, torch.zeros(1)).sample)
    assert torch.equal(videos[0], videos[1])
    assert (videos[0] - videos[2]).abs().max() > 1e-3


@torch.no_grad()
def test_memory_is_kept_and_exceeded_rather_than_losing_the_latents(caplog: pytest.LogCaptureFixture) -> None:
    vae = adopt(theirs("wan-2.1"), memory="1GiB")
    latents = torch.randn(1, 16, 3, 8, 4)
    want = vae.decode(latents).sample
    vae.memory = 1
    with pytest.raises(BudgetTooSmall):
        vae.ae.decode(latents, memory=1)
    with caplog.at_level(logging.WARNING):
        got = vae.decode(latents).sample
    assert "memory=1 is too small, going on with" in caplog.text
    assert relative_error(got, want) <= 1e-5


@torch.no_grad()
def test_a_budget_is_what_plans_are_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = [], planner.plan_sweep

    def spy(module, shape, memory, **rest):
        asked.append(memory)
        return real(module, shape, memory, **rest)

    monkeypatch.setattr("vidlatent.autoencoders.base.plan_sweep", spy)
    vae = adopt(theirs("wan-2.1"), memory="40MiB")
    vae.encode(torch.zeros(1, 3, 5, 16, 16))
    vae.decode(torch.zeros(1, 16, 2, 2, 2))
    assert asked == ["40MiB", "40MiB"]


def test_tiling_and_slicing_are_ignored_with_a_note(caplog: pytest.LogCaptureFixture) -> None:
    vae = adopt(theirs("wan-2.1"))
    with caplog.at_level(logging.INFO, logger="vidlatent"):
        vae.enable_tiling(tile_sample_min_height=64)
        vae.enable_slicing()
        vae.disable_tiling()
        vae.disable_slicing()
    assert [record.getMessage().split("(")[0] for record in caplog.records] == ["enable_tiling", "enable_slicing"]
    assert not vae.use_tiling


def test_the_replaced_autoencoder_is_released() -> None:
    pipe = PIPELINES["WanPipeline"].make(theirs("wan-2.1"))
    weights = weakref.ref(next(pipe.vae.parameters()))
    adopt(pipe)
    gc.collect()
    assert weights() is None


def test_pipelines_are_saved_and_turned_into_others(tmp_path: Path) -> None:
    pipe = adopt(PIPELINES["WanPipeline"].make(theirs("wan-2.1")))
    assert pipe.config.vae == ("diffusers", "AutoencoderKLWan")
    other = diffusers.WanVideoToVideoPipeline.from_pipe(pipe, vae=pipe.vae)
    assert other.vae is pipe.vae
    assert "vae" in pipe.components
    pipe.vae.save_pretrained(tmp_path / "vae")
    assert vl.load(tmp_path / "vae").fingerprint == pipe.vae.ae.fingerprint


def test_weights_move_together() -> None:
    pipe = adopt(PIPELINES["WanPipeline"].make(theirs("wan-2.1")))
    assert "vae" in pipe._exclude_from_cpu_offload
    assert "vae" not in type(pipe)._exclude_from_cpu_offload
    pipe.to(torch.bfloat16)
    assert pipe.vae.dtype == torch.bfloat16


def test_adopting_again_changes_memory_and_policy() -> None:
    pipe = adopt(PIPELINES["CogVideoXPipeline"].make(theirs("cogvideox-2b")), memory="1GiB")
    vae = pipe.vae
    assert adopt(pipe, memory=None, policy="upstream").vae is vae
    assert (vae.memory, vae.policy) == (None, "upstream")


def test_what_cannot_be_adopted_says_what_can() -> None:
    class Other(torch.nn.Module):
        pass

    with pytest.raises(ModelError, match=r"Other is not supported; supported are AutoencoderDC, .*AutoencoderKLWan"):
        adopt(Other())
    for preset in OTHERS:
        with pytest.raises(ModelError, match="is not supported; supported are"):
            adopt(theirs(preset))
    with pytest.raises(InputError, match="object has no autoencoder: expected a pipeline"):
        adopt(object())
    with pytest.raises(InputError, match="memory='much'"):
        adopt(theirs("wan-2.1"), memory="much")
    with pytest.raises(InputError, match="policy='upstream': family 'svd' has exact, native"):
        adopt(theirs("svd"), policy="upstream")
    offloaded = theirs("wan-2.1")
    offloaded._hf_hook = object()
    with pytest.raises(InputError, match="offloaded already: call adopt"):
        adopt(offloaded)


def test_nothing_is_adopted_in_halves() -> None:
    pipe = PIPELINES["WanPipeline"].make(theirs("wan-2.1"))
    vae = pipe.vae
    vae.register_to_config(dropout=0.5)
    with pytest.raises(ModelError, match=r"AutoencoderKLWan: dropout is 0\.5"):
        adopt(pipe)
    assert pipe.vae is vae


def test_the_type_of_weights_is_kept() -> None:
    vae = theirs("sd").to(torch.bfloat16)
    ours = from_diffusers(vae)
    assert ours.dtype == torch.bfloat16
    assert not any(p.requires_grad for p in ours.parameters())
    assert {p.data_ptr() for p in ours.parameters()}.isdisjoint(p.data_ptr() for p in vae.parameters())
    with pytest.raises(InputError, match="are no runs of num_frames=2"):
        adopt(theirs("svd")).decode(torch.zeros(3, 4, 2, 2), num_frames=2)
    with pytest.raises(InputError, match="causal=True: this model has False"):
        adopt(theirs("ltx-2")).decode(torch.zeros(1, 8, 1, 2, 2), causal=True)
