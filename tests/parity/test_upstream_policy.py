"""policy="upstream" is diffusers' enable_tiling(), "native" what it does by itself; tiles are small for tests."""

from dataclasses import replace

import diffusers
import pytest
import torch
from family_checks import assert_equal, noise, randomise
from narrow_models import NARROW, theirs
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.catalog import CATALOG
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.tiles import Blocks, Runs, Tiles, cross_fade
from vidlatent.autoencoders.upstream import Chunks, run_as_published, with_closed_norms
from vidlatent.errors import BudgetTooSmall, InputError
from vidlatent.integrations.diffusers import from_diffusers
from vidlatent.nn import GroupNorm
from vidlatent.testing import relative_error

WITH_TILES = [preset for preset in NARROW if build(preset, **NARROW[preset]).upstream.tiles]
MENDED = ("easyanimate-5", "vidtok-kl-488-4", "dc-ae-f32t4c128")
"""Where diffusers is not followed, or has no such model: see test_upstream_mended.py."""
TILED = [preset for preset in WITH_TILES if preset not in MENDED]
WITH_DIFFUSERS = [*TILED, "easyanimate-5", "vidtok-kl-488-4"]
FRAMES = {"hunyuan-video": 29, "cogvideox-2b": 25, "mochi-1": 7}
_SIZE, _STEP = 4, 3
"""Latents of a small tile."""


def tile(model: nn.Module, size: int, step: int, stride: int) -> None:
    """Tell one of theirs to tile, in pixels, by whichever of its knobs are left to us."""
    model.enable_tiling()
    if hasattr(model, "tile_sample_stride_height"):
        model.enable_tiling(
            tile_sample_min_height=size,
            tile_sample_min_width=size,
            tile_sample_stride_height=step,
            tile_sample_stride_width=step,
        )
        return
    share = (size - step) / size
    for name, value in {
        **dict.fromkeys(("tile_sample_min_size", "tile_sample_min_height", "tile_sample_min_width"), size),
        **dict.fromkeys(("tile_latent_min_size", "tile_latent_min_height", "tile_latent_min_width"), size // stride),
        **dict.fromkeys(("tile_overlap_factor", "tile_overlap_factor_height", "tile_overlap_factor_width"), share),
    }.items():
        if hasattr(model, name):
            setattr(model, name, value)


def with_small_tiles(preset: str) -> tuple[Autoencoder, nn.Module]:
    model = theirs(preset)
    ours = from_diffusers(model)
    stride, grain = ours.latent_spec.stride[1], ours.upstream.tiles.grain
    tile(model, _SIZE * stride, _STEP * stride, stride)
    small = Tiles((_SIZE,) * 2, (_STEP,) * 2, grain)
    folded = Tiles((_SIZE * grain,) * 2, (_STEP * grain,) * 2, beyond=(_SIZE,) * 2)
    folded = folded if ours.upstream.encoder_tiles else None
    ours.upstream = replace(ours.upstream, tiles=small, encoder_tiles=folded)
    return ours, model


def on_clip(model: nn.Module, clip: Tensor, *, encode: bool) -> Tensor:
    """Mean of the latents, or video; of models of images, frame by frame."""
    if isinstance(model, diffusers.AutoencoderKL | diffusers.AutoencoderDC):
        frames = [on_frame(model, frame, encode=encode) for frame in clip.unbind(2)]
        return torch.stack(frames, 2)
    return on_frame(model, clip, encode=encode)


def on_frame(model: nn.Module, x: Tensor, *, encode: bool) -> Tensor:
    if isinstance(model, diffusers.AutoencoderVidTok):  # copies in front of the clip are added by its `forward`
        return model.encode(pad_in_front(x)).latent_dist.mean if encode else model.decode(x)
    if not encode:
        temb = (torch.full((1,), 0.05),) if model.config.get("timestep_conditioning") else ()
        video = model.decode(x, *temb).sample
        return video.transpose(1, 2) if isinstance(model, diffusers.AutoencoderKLAllegro) else video  # as they come
    out = model.encode(x)
    return out.latent if hasattr(out, "latent") else out.latent_dist.mean


def pad_in_front(clip: Tensor) -> Tensor:
    """Three copies of the first frame, then the clip."""
    return torch.nn.functional.pad(clip, (0, 0, 0, 0, 3, 0), mode="replicate")


def assert_as_theirs(ours: Autoencoder, model: nn.Module, clip: Tensor, policy: str) -> None:
    want = on_clip(model, clip, encode=True)
    assert_equal(ours.encode(clip, policy=policy).mean, want, 1e-5)
    video, got = on_clip(model, want, encode=False), run_as_published(ours, "decode", want, None, policy)
    assert video.shape == got.shape
    assert (got.clamp(-1, 1) - video.clamp(-1, 1)).abs().max() <= 1e-5 * got.abs().max()  # some of theirs clamp
    assert torch.equal(ours.decode(want, policy=policy), got.clamp(-1, 1))
    assert relative_error(ours.encode(clip).mean, want) > 1e-3
    assert relative_error(ours.decode(want), video.clamp(-1, 1)) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("preset", TILED)
def test_tiles_are_theirs(preset: str) -> None:
    ours, model = with_small_tiles(preset)
    stride = ours.latent_spec.stride
    frames = FRAMES.get(preset, 1 if stride[0] == 1 else 1 + stride[0])
    assert_as_theirs(ours, model, noise(3, frames, 8 * stride[1], 5 * stride[2]), "upstream")


@torch.no_grad()
@pytest.mark.parametrize("preset", ["wan-2.1", "cogvideox-2b", "hunyuan-video"])
def test_a_clip_that_is_one_tile_is_not_tiled(preset: str) -> None:
    ours, _ = with_small_tiles(preset)
    stride = ours.latent_spec.stride
    clip = noise(3, 1 + stride[0], _SIZE * stride[1], _SIZE * stride[2])
    assert torch.equal(ours.encode(clip, policy="upstream").mean, ours.encode(clip, policy="exact").mean)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["cogvideox-2b", "hunyuan-video"])
def test_frames_are_taken_as_theirs_are_without_tiles(preset: str) -> None:
    model = theirs(preset)
    ours = from_diffusers(model)
    assert_as_theirs(ours, model, noise(3, 29 if preset == "hunyuan-video" else 25, 16, 24), "native")


@torch.no_grad()
def test_blocks_are_theirs() -> None:
    model = theirs("allegro")
    model.enable_tiling()
    ours = from_diffusers(model)
    assert (ours.upstream.always, model.kernel, model.stride) == (
        Blocks((6, 40, 40), (4, 25, 30)),
        (24, 320, 320),
        (16, 200, 240),
    )
    model.kernel, model.stride = (12, 32, 24), (8, 24, 16)
    ours.upstream = replace(ours.upstream, always=Blocks((3, 4, 3), (2, 3, 2)))
    assert_as_theirs(ours, model, noise(3, 20, 56, 40), "native")
    assert ours.upstream.differs("upstream")


@torch.no_grad()
def test_blocks_reach_the_end_where_theirs_leave_it_blank() -> None:
    model = theirs("allegro")
    model.enable_tiling()
    model.kernel, model.stride = (12, 32, 24), (8, 24, 16)
    ours = from_diffusers(model)
    ours.upstream = replace(ours.upstream, always=Blocks((3, 4, 3), (2, 3, 2)))
    latents = noise(4, 6, 6, 5)
    assert not on_frame(model, latents, encode=False)[..., -16:, :].any()
    assert ours.decode(latents, policy="native")[..., -16:, :].std() > 0.01


@pytest.mark.parametrize("preset", [p for p, e in CATALOG.items() if p in WITH_DIFFUSERS or e.family == "image-kl"])
def test_the_published_tiles_are_theirs(preset: str) -> None:
    entry = CATALOG[preset]
    values = {k: v for k, v in adapter(entry.family).write_config(entry.config).items() if k[0] != "_"}
    with torch.device("meta"):
        model = getattr(diffusers, adapter(entry.family).class_name)(**values)
    ours = build(preset, **NARROW[preset]) if preset in NARROW else None
    tiles = (ours or build(preset, widths=(4, 4, 4, 4), groups=4)).upstream.tiles
    stride = [2 ** (len(entry.config.widths) - 1)] * 2 if ours is None else ours.latent_spec.stride[1:]
    size = [s * n for s, n in zip(tiles.size, stride, strict=True)]
    step = [s * n for s, n in zip(tiles.step, stride, strict=True)]
    if hasattr(model, "tile_sample_min_size"):
        assert size == [model.tile_sample_min_size] * 2
        assert step == [model.tile_sample_min_size * (1 - model.tile_overlap_factor)] * 2
        return
    assert size == [model.tile_sample_min_height, model.tile_sample_min_width]
    if hasattr(model, "tile_sample_stride_height"):
        assert step == [model.tile_sample_stride_height, model.tile_sample_stride_width]
    elif hasattr(model, "tile_overlap_factor"):
        assert step == [int(s * (1 - model.tile_overlap_factor)) for s in size]
    else:
        assert step == [
            int(size[0] * (1 - model.tile_overlap_factor_height)),
            int(size[1] * (1 - model.tile_overlap_factor_width)),
        ]


@torch.no_grad()
@pytest.mark.parametrize("preset", ["wan-2.1", pytest.param("cogvideox-2b", marks=pytest.mark.slow)])
def test_a_budget_does_not_change_what_is_published(preset: str) -> None:
    ours = randomise(build(preset, **NARROW[preset]))
    ours.upstream = replace(ours.upstream, tiles=Tiles((12, 4), (8, 4)))
    latents = noise(16, 5, 14, 4)
    with pytest.raises(BudgetTooSmall) as refused:
        ours.decode(latents, policy="upstream", memory=1)
    want = run_as_published(ours, "decode", latents, None, "upstream")
    got = run_as_published(ours, "decode", latents, refused.value.smallest_bytes * 5 // 4, "upstream")
    assert relative_error(got, want) <= 1e-5


@torch.no_grad()
def test_clips_of_any_length_and_size_are_tiled() -> None:
    ours, _ = with_small_tiles("cogvideox-2b")
    clip = noise(3, 19, 37, 41)
    posterior = ours.encode(clip, policy="upstream")
    assert posterior.mean.shape == (1, 16, 6, 5, 6)
    fitted = torch.nn.functional.pad(clip, (0, 7, 0, 3, 0, 2), mode="replicate")
    assert relative_error(posterior.mean, ours.encode(fitted, policy="upstream").mean) <= 1e-5
    assert ours.decode(posterior.mean, num_frames=19, size=(37, 41), policy="upstream").shape == clip.shape


def test_policies_that_a_family_lacks_are_refused() -> None:
    for preset in ("taehv", "svd"):
        ours = build(preset, **NARROW[preset])
        why = "enable_tiling.. raises" if preset == "svd" else "published code has no tiles"
        with pytest.raises(InputError, match=rf"policy='upstream': family '{preset}' has exact, native: .*{why}"):
            ours.encode(noise(3, 1, 16, 16), policy="upstream")
    with pytest.raises(InputError, match="policy='tiled': family 'wan' has exact, native, upstream"):
        build("wan-2.1", **NARROW["wan-2.1"]).decode(noise(16, 1, 2, 2), policy="tiled")
    ours = build("cogvideox-2b", **NARROW["cogvideox-2b"])
    with pytest.raises(InputError, match="a plan cuts policy 'exact'"):
        ours.decode(noise(16, 1, 2, 2), policy="native", plan=ours.plan((1, 16, 1, 2, 2), None, "decode"))


def test_closed_norms_share_weights_and_follow_them() -> None:
    ours = build("cogvideox-2b", **NARROW["cogvideox-2b"])
    closed = with_closed_norms(ours.encoder)
    assert closed is with_closed_norms(ours.encoder)
    assert all(a is b for a, b in zip(closed.parameters(), ours.encoder.parameters(), strict=True))
    assert {m.axes for m in closed.modules() if isinstance(m, GroupNorm)} == {(3,)}
    assert {m.axes for m in ours.encoder.modules() if isinstance(m, GroupNorm)} == {(2, 3)}
    ours.load_state_dict(build("cogvideox-2b", seed=1, **NARROW["cogvideox-2b"]).state_dict(), assign=True)
    again = with_closed_norms(ours.encoder)
    assert all(a is b for a, b in zip(again.parameters(), ours.encoder.parameters(), strict=True))


def test_a_cross_fade_goes_from_one_to_the_other() -> None:
    a, b = torch.zeros(1, 1, 1, 1, 6), torch.ones(1, 1, 1, 1, 6)
    cross_fade(a, b, 4, 4, 1)
    assert b.flatten().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    b = torch.ones(1, 1, 1, 1, 6)
    cross_fade(a, b, 4, 4, 2)
    assert b.flatten().tolist() == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


def test_the_remainder_joins_the_first_chunk() -> None:
    chunks = Chunks(2, "first")
    assert [chunks.split(n, 4) for n in (1, 13, 17, 33, 37)] == [[1], [13], [9, 8], [9, 8, 8, 8], [13, 8, 8, 8]]
    assert [chunks.split(n, 1) for n in (1, 2, 3, 5)] == [[1], [2], [3], [3, 2]]
    assert Runs(4, 3) == build("hunyuan-video", **NARROW["hunyuan-video"]).upstream.always


def test_the_remainder_is_a_chunk_of_its_own() -> None:
    chunks = Chunks(4)
    assert [chunks.split(n, 4) for n in (1, 13, 17, 21, 37)] == [[1], [13], [17], [17, 4], [17, 16, 4]]
    assert [chunks.split(n, 1) for n in (1, 5, 6, 14)] == [[1], [5], [5, 1], [5, 4, 4, 1]]
