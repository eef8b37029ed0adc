"""What vidlatent promises of every autoencoder, as tests that a new one inherits."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, load_checkpoint, plan, save_checkpoint
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.errors import BudgetTooSmall, InputError
from vidlatent.streaming import H, Plan, T
from vidlatent.testing.streams import TOLERANCE, assert_streams_exactly, relative_error


class AutoencoderSuite:
    """Tests of one autoencoder: inherit, say how to make it, and let pytest collect the class.

        class TestMine(AutoencoderSuite):
            def make(self):
                return vl.build("wan-2.1", base_dim=8)

    `make` gives an autoencoder with random weights, small enough for tests; it is tried in float64. `video_size`
    (T, H, W) should fit neither its strides nor its first-frame rule, `partitions` is how many are tried for each
    order of axes. A test fails with `AssertionError`.
    """

    video_size: tuple[int, int, int] = (6, 35, 20)
    partitions: int = 3

    def make(self) -> Autoencoder:
        """The autoencoder to test."""
        raise NotImplementedError(f"{type(self).__name__}.make() must give an autoencoder")

    def test_latents_are_as_its_spec_declares(self) -> None:
        ae, video = self._made()
        posterior = ae.encode(video)
        assert posterior.mean.shape == (1, ae.latent_spec.channels, *ae.latent_grid(self.video_size))
        assert (posterior.logvar is not None) == ae.has_logvar

    def test_video_of_any_size_comes_back_in_that_size(self) -> None:
        ae, video = self._made()
        posterior = ae.encode(video)
        again = ae.decode(posterior.mode(), num_frames=posterior.num_frames, size=posterior.size)
        assert again.shape == video.shape
        assert again.abs().max() <= 1

    def test_the_encoder_streams_exactly(self) -> None:
        ae, video = self._made()
        assert_streams_exactly(ae.encoder, video, partitions=self.partitions)

    def test_the_decoder_streams_exactly(self) -> None:
        ae, _ = self._made()
        assert_streams_exactly(ae.decoder, self._latents(ae), partitions=self.partitions)

    def test_a_budget_never_changes_the_answer(self) -> None:
        ae, video = self._made()
        frames, height, width = self.video_size
        try:
            budget = plan(ae, frames=frames, height=height, width=width, memory=1).peak_bytes
        except BudgetTooSmall as least:
            budget = least.smallest_bytes
        self._assert_equal(ae.encode(video, memory=budget).mean, ae.encode(video).mean)
        cut = Plan((T, H), chunk=1, strip=1)
        self._assert_equal(ae.decode(self._latents(ae), plan=cut), ae.decode(self._latents(ae)))

    def test_frames_pushed_one_by_one_give_the_whole_answer(self) -> None:
        ae, video = self._made()
        with ae.stream_encoder() as encoder:
            moments = [encoder.push(frame) for frame in video.split(1, T)] + [encoder.finish()]
        self._assert_equal(torch.cat(moments, T)[:, : ae.latent_spec.channels], ae.encode(video).mean)
        latents = self._latents(ae)
        with ae.stream_decoder() as decoder:
            frames = [*map(decoder.push, latents.split(1, T)), *decoder.drain()]
        self._assert_equal(torch.cat(frames, T), ae.decode(latents))

    def test_a_saved_stream_goes_on_bit_for_bit(self) -> None:
        ae, video = self._made()
        first, *others = video.split(2, T)
        straight, stopped, taken_up = ae.stream_encoder(), ae.stream_encoder(), ae.stream_encoder()
        want = [straight.push(first), *map(straight.push, others), straight.finish()]
        got, file = [stopped.push(first)], io.BytesIO()
        torch.save(stopped.state_dict(), file)
        file.seek(0)
        taken_up.load_state_dict(torch.load(file, weights_only=True))
        got += [*map(taken_up.push, others), taken_up.finish()]
        assert torch.equal(torch.cat(got, T), torch.cat(want, T))

    def test_normalising_can_be_undone(self) -> None:
        ae, _ = self._made()
        latents = self._latents(ae)
        self._assert_equal(ae.denormalize(ae.normalize(latents)), latents)

    def test_the_fingerprint_is_of_the_weights(self) -> None:
        ae, _ = self._made()
        before = ae.fingerprint
        with torch.no_grad():
            next(ae.parameters()).add_(1)
        assert ae.fingerprint != before

    def test_a_checkpoint_comes_back_the_same(self) -> None:
        ae, _ = self._made()
        if ae.family not in FAMILIES:  # an autoencoder of yours that no catalogue names is loaded by your own code
            return
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(ae, Path(folder, "model.safetensors"))
            again = load_checkpoint(Path(folder, "model.safetensors"), dtype=torch.float64)
            assert again.fingerprint == ae.fingerprint

    def test_what_is_no_clip_is_refused(self) -> None:
        ae, video = self._made()
        for wrong in (video[0], video[:, :2], (video * 127).to(torch.uint8), video[:, :, :0]):
            try:
                ae.encode(wrong)
            except InputError:
                continue
            raise AssertionError(f"encode took {wrong.dtype} of shape {tuple(wrong.shape)}")

    def _made(self) -> tuple[Autoencoder, Tensor]:
        generator = torch.Generator().manual_seed(0)
        video = torch.rand(1, 3, *self.video_size, generator=generator, dtype=torch.float64) * 2 - 1
        return self.make().double().eval(), video

    def _latents(self, ae: Autoencoder) -> Tensor:
        shape = (1, ae.latent_spec.channels, *ae.latent_grid(self.video_size))
        return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def _assert_equal(self, got: Tensor, want: Tensor) -> None:
        assert got.shape == want.shape, f"shape {tuple(got.shape)}, whole clip {tuple(want.shape)}"
        error = relative_error(got, want)
        assert error <= TOLERANCE[torch.float64], f"relative error {error:.2e}"
