"""The suite passes autoencoders that keep their promises and catches those that break one."""

import pytest
import torch
from deliberate_bugs import PadsEachSlab
from torch import Tensor

import vidlatent as vl
from vidlatent.nn import Chain
from vidlatent.streaming import Sweep, Sweepable, Window
from vidlatent.testing import AutoencoderSuite


class TestTiny(AutoencoderSuite):
    def make(self) -> vl.Autoencoder:
        return vl.build("vidlatent-tiny", encoder_widths=(8, 12), decoder_widths=(8, 12))


class TestWan(AutoencoderSuite):
    video_size = (6, 19, 12)
    partitions = 1

    def make(self) -> vl.Autoencoder:
        return vl.build("wan-2.1", base_dim=4)


class Drifts(Sweepable):
    """Adds what it was called before: another answer each time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        self.calls += 1
        return x + self.calls


class Broken(AutoencoderSuite):
    """TestTiny's autoencoder with something wrong; not collected, since its name does not begin with Test."""

    video_size = (6, 16, 8)

    def __init__(self, breaks: str) -> None:
        self.breaks = breaks

    def make(self) -> vl.Autoencoder:
        ae = TestTiny().make()
        if self.breaks == "encoder":
            ae.encoder = Chain(PadsEachSlab(3, 3, t=Window.causal(3)), *ae.encoder)
        elif self.breaks == "decoder":
            ae.decoder = Chain(PadsEachSlab(16, 16, t=Window.causal(3)), *ae.decoder)
        elif self.breaks == "answer":
            ae.encoder = Chain(Drifts(), *ae.encoder)
        elif self.breaks == "spec":
            ae.latent_spec = vl.LatentSpec(ae.latent_spec.channels + 1, ae.latent_spec.stride)
        elif self.breaks == "statistics":
            ae.normalize = lambda latents: latents * 2  # type: ignore[method-assign]
        elif self.breaks == "fingerprint":
            next(ae.parameters()).data = torch.full_like(next(ae.parameters()), torch.inf)
        elif self.breaks == "refusal":
            ae.encode = lambda video: None  # type: ignore[method-assign,assignment]
        return ae


@pytest.mark.parametrize(
    ("breaks", "test"),
    [
        ("encoder", "test_the_encoder_streams_exactly"),
        ("encoder", "test_frames_pushed_one_by_one_give_the_whole_answer"),
        ("decoder", "test_the_decoder_streams_exactly"),
        ("decoder", "test_frames_pushed_one_by_one_give_the_whole_answer"),
        ("answer", "test_a_budget_never_changes_the_answer"),
        ("answer", "test_a_saved_stream_goes_on_bit_for_bit"),
        ("spec", "test_latents_are_as_its_spec_declares"),
        ("statistics", "test_normalising_can_be_undone"),
        ("fingerprint", "test_the_fingerprint_is_of_the_weights"),
        ("refusal", "test_what_is_no_clip_is_refused"),
    ],
)
def test_a_broken_promise_is_caught(breaks: str, test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(Broken(breaks), test)()


def test_make_must_be_given() -> None:
    with pytest.raises(NotImplementedError, match=r"make\(\)"):
        AutoencoderSuite().make()
