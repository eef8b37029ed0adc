"""What every autoencoder offers: budgets, streams, gradients, fingerprints, and one clear error for bad input."""

import io

import pytest
import torch

import vidlatent as vl
from vidlatent.streaming import H, T
from vidlatent.testing import relative_error

NARROW = {"encoder_widths": (8, 12), "decoder_widths": (8, 12)}


@pytest.fixture(scope="module")
def ae() -> vl.Autoencoder:
    return vl.build("vidlatent-tiny", **NARROW)


@pytest.fixture(scope="module")
def wan() -> vl.Autoencoder:
    return vl.build("wan-2.1", base_dim=8)


@pytest.mark.parametrize("name", ["ae", "wan"])
@pytest.mark.parametrize("share", [0.9, 0.4, 0.0])
def test_a_budget_does_not_change_the_answer(name: str, share: float, request: pytest.FixtureRequest) -> None:
    ae: vl.Autoencoder = request.getfixturevalue(name)
    video = torch.rand(1, 3, 21, 96, 64) * 2 - 1
    whole = vl.plan(ae, frames=21, height=96, width=64, memory="64GiB")
    assert whole.axes == ()
    with pytest.raises(vl.BudgetTooSmall) as least:
        vl.plan(ae, frames=21, height=96, width=64, memory=1)
    want, smallest = ae.encode(video).mean, least.value.smallest_bytes
    budget = smallest + int((whole.peak_bytes - smallest) * share)
    plan = vl.plan(ae, frames=21, height=96, width=64, memory=budget)
    assert plan.axes
    assert 0 < plan.peak_bytes <= budget
    assert relative_error(ae.encode(video, memory=budget).mean, want) <= 1e-5
    assert relative_error(ae.decode(want, plan=vl.Plan((T, H), chunk=2, strip=3)), ae.decode(want)) <= 1e-5


def test_a_budget_too_small_names_the_smallest_that_does(ae: vl.Autoencoder) -> None:
    with pytest.raises(vl.BudgetTooSmall, match="smallest needs") as caught:
        vl.plan(ae, frames=17, height=64, width=64, memory=1000)
    smallest = caught.value.smallest_bytes
    assert vl.plan(ae, frames=17, height=64, width=64, memory=smallest).peak_bytes <= smallest


@pytest.mark.parametrize("memory", ["2 gigs", "", "-1GiB", 0, "1e9"])
def test_a_budget_that_is_none(ae: vl.Autoencoder, memory: object) -> None:
    with pytest.raises(vl.InputError, match="memory="):
        ae.encode(torch.zeros(1, 3, 1, 8, 8), memory=memory)  # type: ignore[arg-type]


@pytest.mark.parametrize("chunks", [[17], [1] * 17, [3, 1, 8, 5], [4, 4, 4, 4, 1]])
def test_streams_equal_the_whole_clip(ae: vl.Autoencoder, chunks: list[int]) -> None:
    video = torch.rand(1, 3, 17, 24, 16) * 2 - 1
    posterior = ae.encode(video)
    with ae.stream_encoder() as encoder:
        pieces = [encoder.push(part) for part in video.split(chunks, 2)] + [encoder.finish()]
    assert relative_error(torch.cat(pieces, 2), posterior.mean) <= 1e-5
    with ae.stream_decoder(size=(24, 16), memory="1GiB") as decoder:
        pieces = [decoder.push(part) for part in posterior.mean.split(1, 2)] + [decoder.finish()]
    assert relative_error(torch.cat(pieces, 2), ae.decode(posterior.mean)) <= 1e-5


def test_one_stream_feeds_another(ae: vl.Autoencoder) -> None:
    video = torch.rand(1, 3, 13, 24, 16) * 2 - 1
    encoder, decoder = ae.stream_encoder(), ae.stream_decoder()
    frames = [decoder.push(encoder.push(video[:, :, :0]))]
    frames += [decoder.push(encoder.push(frame)) for frame in video.split(1, 2)]  # mostly there is nothing yet
    frames += [decoder.push(encoder.finish()), decoder.finish()]
    assert relative_error(torch.cat(frames, 2), ae.decode(ae.encode(video).mean)) <= 1e-5


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 4, 16, 16), torch.zeros(1, 3, 4, 16, 16).byte(), torch.zeros(1, 4, 1, 8, 8)]
)
def test_a_stream_refuses_what_is_no_video(ae: vl.Autoencoder, wrong: torch.Tensor) -> None:
    with pytest.raises(vl.InputError, match=r"expected video \(B, 3, T, H, W\)"):
        ae.stream_encoder().push(wrong)


def test_a_stream_goes_on_from_its_saved_state(ae: vl.Autoencoder) -> None:
    video = torch.rand(1, 3, 17, 24, 16)
    straight, first, second = ae.stream_encoder(), ae.stream_encoder(), ae.stream_encoder()
    want = [straight.push(part) for part in video.split(5, 2)] + [straight.finish()]
    parts = video.split(5, 2)
    got = [first.push(part) for part in parts[:2]]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    got += [second.push(part) for part in parts[2:]] + [second.finish()]
    assert torch.equal(torch.cat(got, 2), torch.cat(want, 2))
    other = vl.build("vidlatent-tiny", seed=1, **NARROW).stream_encoder()
    with pytest.raises(ValueError, match="saved stream is of autoencoder"):
        other.load_state_dict(first.state_dict())


def test_gradients_flow_only_where_asked(ae: vl.Autoencoder) -> None:
    latents = torch.randn(1, 16, 2, 2, 2)
    assert not ae.decode(latents).requires_grad
    video = ae.decode(latents.requires_grad_())
    video.sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_the_fingerprint_is_of_config_and_weights() -> None:
    ae, again = (vl.build("vidlatent-tiny", **NARROW) for _ in range(2))
    assert ae.fingerprint == again.fingerprint
    assert ae.fingerprint != vl.build("vidlatent-tiny", seed=1, **NARROW).fingerprint
    assert ae.fingerprint != vl.build("vidlatent-tiny", mean=(0.0,) * 16, **NARROW).fingerprint
    with torch.no_grad():
        next(iter(again.parameters())).add_(1e-3)
    assert ae.fingerprint != again.fingerprint


def test_normalising_is_undone() -> None:
    ae = vl.build("wan-2.1", base_dim=8)
    latents = torch.randn(2, 16, 3, 4, 4)
    spec = ae.latent_spec
    assert torch.allclose(ae.denormalize(ae.normalize(latents)), latents, atol=1e-6)
    want = (latents[:, 3] - spec.mean[3]) / spec.std[3]
    assert torch.allclose(ae.normalize(latents)[:, 3], want, atol=1e-6)


def test_a_posterior_samples_as_it_says(wan: vl.Autoencoder) -> None:
    posterior = wan.encode(torch.rand(1, 3, 5, 16, 16))
    assert posterior.logvar is not None
    one, two = (posterior.sample(torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(one, two)
    wide = vl.Posterior(torch.zeros(1, 1, 1, 200, 200), torch.full((1, 1, 1, 200, 200), 2.0))
    assert abs(wide.sample(torch.Generator().manual_seed(0)).std().log() * 2 - 2.0) < 0.05
    assert torch.allclose(wide.kl() / 40000, torch.tensor(0.5 * (torch.e**2 - 1 - 2)))


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        (torch.zeros(1, 3, 8, 8), "expected video"),
        (torch.zeros(1, 4, 1, 8, 8), "expected video"),
        (torch.zeros(1, 3, 0, 8, 8), "expected video"),
        (torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8), "to_float"),
        ("clip.mp4", "expected video"),
    ],
)
def test_what_is_no_clip_is_refused(ae: vl.Autoencoder, video: object, reason: str) -> None:
    with pytest.raises(vl.InputError, match=reason):
        ae.encode(video)  # type: ignore[arg-type]


def test_more_than_the_latents_hold_is_refused(ae: vl.Autoencoder) -> None:
    latents = torch.zeros(1, 16, 2, 2, 2)
    for options in ({"num_frames": 6}, {"num_frames": 0}, {"size": (17, 16)}):
        with pytest.raises(vl.InputError, match=r"hold up to \(5, 16, 16\)"):
            ae.decode(latents, **options)  # type: ignore[arg-type]


def test_names_and_fields_that_are_not() -> None:
    with pytest.raises(vl.ModelError, match=r"near it are .*wan-2\.1.*`vidlatent models` lists all"):
        vl.build("wan")
    with pytest.raises(vl.ModelError, match="base_dim"):
        vl.build("wan-2.1", width=3)
