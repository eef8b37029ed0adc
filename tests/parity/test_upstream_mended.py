"""policy="upstream" and "native" where diffusers' own answer is a defect: equal to its parts, put together rightly."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from family_checks import assert_equal, noise, randomise, unclamped
from narrow_models import NARROW, theirs
from test_upstream_policy import pad_in_front, with_small_tiles
from torch import Tensor, nn

from vidlatent.autoencoders import Autoencoder, build
from vidlatent.autoencoders.diffusers_format import Described, adapter, load_published
from vidlatent.autoencoders.tiles import Runs, in_runs
from vidlatent.autoencoders.tiles import Scale as Items
from vidlatent.autoencoders.upstream import run_as_published
from vidlatent.testing import relative_error

_SIZE, _STEP = 4, 3


def ours_of(model: nn.Module, family: str) -> Autoencoder:
    """Ours with the configuration and weights of theirs."""
    config = adapter(family).read_config(dict(model.config), "theirs")
    return load_published(Described(family, config), model.state_dict(), "theirs", device="cpu", dtype=torch.float)


def tiled(model: nn.Module, x: Tensor, run: Callable[[Tensor], Tensor], before: int, after: int) -> Tensor:
    """`run` on tiles of `_SIZE` latents, put together by their own cross-fades as diffusers does when it decodes.

    A latent is `before` pixels of `x`, or `after` of the answer.
    """
    size, step, fade = _SIZE * before, _STEP * before, (_SIZE - _STEP) * after
    corners = [range(0, length, step) for length in x.shape[3:]]
    rows = [[run(x[..., top : top + size, left : left + size]) for left in corners[1]] for top in corners[0]]
    whole = []
    for i, row in enumerate(rows):
        for j, part in enumerate(row):
            row[j] = model.blend_v(rows[i - 1][j], part, fade) if i else part
            row[j] = model.blend_h(row[j - 1], row[j], fade) if j else row[j]
        whole.append(torch.cat([part[..., : _STEP * after, : _STEP * after] for part in row], -1))
    return torch.cat(whole, -2)


@torch.no_grad()
def test_easyanimate_fits_together_what_diffusers_misplaces_when_encoding() -> None:
    ours, model = with_small_tiles("easyanimate-5")
    clip = noise(3, 5, 64, 40)
    misplaced = model.encode(clip).latent_dist.mean
    latents = noise(16, 2, 8, 5)
    want = model.decode(latents).sample
    got = run_as_published(ours, "decode", latents, None, "upstream")
    assert_equal(got, want, 1e-5)
    model.disable_tiling()
    want = tiled(model, clip, lambda part: model.encode(part).latent_dist.parameters, 8, 1)[:, :16]
    assert_equal(ours.encode(clip, policy="upstream").mean, want, 1e-5)
    assert relative_error(misplaced, want) > 1e-2
    assert relative_error(ours.encode(clip).mean, want) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("latent_frames", [1, 4])
def test_vidtok_continues_what_diffusers_begins_anew_behind_the_first_latent(latent_frames: int) -> None:
    model = theirs("vidtok-kl-488-4")
    ours = ours_of(model, "vidtok")
    stride = ours.latent_spec.stride[1]
    clip = noise(3, 4 * latent_frames - 3, 8 * stride, 5 * stride)
    whole = model.decode(noise(4, latent_frames, 8, 5))
    model.enable_tiling(_SIZE * stride, _SIZE * stride, 1 - _STEP / _SIZE, 1 - _STEP / _SIZE)
    ours.upstream = replace(ours.upstream, tiles=replace(ours.upstream.tiles, size=(4, 4), step=(3, 3)))
    want = model.encode(pad_in_front(clip)).latent_dist.mean
    assert_equal(ours.encode(clip, policy="upstream").mean, want, 1e-5)
    latents = noise(4, latent_frames, 8, 5)
    begun_anew = model.decode(latents)
    model.disable_tiling()
    want = tiled(model, latents, model.decode, 1, stride)
    got = run_as_published(ours, "decode", latents, None, "upstream")
    assert_equal(got, want, 1e-5)
    assert (relative_error(begun_anew, want) > 1e-4) == (latent_frames > 1)
    assert relative_error(got, whole) > 1e-3


@torch.no_grad()
def test_vidtok_without_causality_takes_sixteen_frames_at_a_time() -> None:
    model = theirs("vidtok-kl-488-4", time="centred")
    ours = ours_of(model, "vidtok")
    stride = ours.latent_spec.stride[1]
    model.enable_tiling(_SIZE * stride, _SIZE * stride)
    ours.upstream = replace(ours.upstream, tiles=replace(ours.upstream.tiles, size=(4, 4), step=(4, 4)))
    clip = noise(3, 32, 8 * stride, 4 * stride)
    want = model.encode(clip).latent_dist.mean
    assert_equal(ours.encode(clip, policy="upstream").mean, want, 1e-5)
    assert_equal(run_as_published(ours, "decode", want, None, "upstream"), model.decode(want), 1e-5)
    assert relative_error(ours.encode(clip).mean, want) > 1e-3
    odd = ours.encode(noise(3, 24, 16, 16), policy="upstream").mean
    assert odd.shape[2] == 6  # diffusers decodes four of them
    assert ours.decode(odd, policy="upstream").shape[2] == 24


@torch.no_grad()
def test_kvae_normalises_chunks_by_themselves() -> None:
    model = theirs("kvae-1")
    ours = ours_of(model, "kvae")
    clip = noise(3, 27, 8, 12)  # 17 frames, then 10; 9 latents, then 5
    want = model.encode(clip).latent_dist.mean
    assert_equal(ours.encode(clip, policy="native").mean, want, 1e-5)
    assert relative_error(ours.encode(clip).mean, want) > 1e-3
    video = run_as_published(ours, "decode", want, None, "native")
    assert_equal(video, model.decode(want).sample, 1e-5)
    assert relative_error(unclamped(ours, want), video) > 1e-3


@torch.no_grad()
def test_kvae_keeps_the_frames_that_diffusers_loses() -> None:
    model = theirs("kvae-1")
    ours = ours_of(model, "kvae")
    latents = noise(2, 10, 4, 4)  # a last chunk of one latent
    video, want = run_as_published(ours, "decode", latents, None, "native"), model.decode(latents).sample
    assert (video.shape[2], want.shape[2]) == (19, 18)
    assert_equal(video[:, :, :17], want[:, :, :17], 1e-5)


@pytest.mark.parametrize("preset", ["wf-vae-l-16", "lean-vae-4"])
def test_chunks_that_make_no_difference_are_the_whole_clip(preset: str) -> None:
    ours = randomise(build(preset, **NARROW[preset]))
    clip = noise(3, 9, 16, 16)
    with torch.no_grad():
        latents = ours.encode(clip, policy="upstream").mean
    assert torch.equal(latents, ours.encode(clip).mean)
    assert torch.equal(ours.decode(latents, policy="upstream"), ours.decode(latents))


def test_the_last_run_takes_what_does_not_fill_one() -> None:
    taken: list[int] = []

    def run(part: Tensor, _: int) -> Tensor:
        taken.append(part.shape[2])
        return part.clone()

    for length, want in ((3, [3]), (4, [4]), (7, [7]), (8, [4, 4]), (11, [4, 7]), (12, [4, 4, 4])):
        x = torch.arange(length, dtype=torch.float).view(1, 1, -1, 1, 1)
        taken.clear()
        assert torch.equal(in_runs(x, torch.empty_like(x), Runs(4, 4, single=False, joined=True), Items(1, 1), run), x)
        assert taken == want
