"""Clips to latent files and back: the frames, sizes and times of the clip, whatever the budget."""

from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import pytest
import torch
from pipeline_helpers import make_clip, moving, narrow, read_clip

import vidlatent
from vidlatent.encode import Pair, decode_clip, encode_clip, reconstruct_clip
from vidlatent.errors import InputError, LatentFileError
from vidlatent.io import to_float, to_uint8
from vidlatent.latents import content_hash, open_latents


@pytest.fixture(scope="module")
def ae() -> vidlatent.Autoencoder:
    return narrow()


@pytest.mark.parametrize("frames", [1, 4, 5, 37])
@pytest.mark.parametrize("memory", [None, "40MB"])
def test_the_file_holds_what_encoding_the_whole_clip_gives(
    tmp_path: Path, ae: vidlatent.Autoencoder, frames: int, memory: str | None
) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames)
    seen: list[tuple[int, int | None]] = []
    meta = encode_clip(
        clip, ae, tmp_path / "a.safetensors", memory=memory, dtype="float32", progress=lambda *at: seen.append(at)
    )
    with torch.no_grad():
        whole = ae.encode(to_float(read_clip(clip)[0])).mean[0].transpose(0, 1)
    with open_latents(tmp_path / "a.safetensors") as latents:
        torch.testing.assert_close(latents.read(), whole, rtol=1e-4, atol=1e-5)
        latents.verify()
    assert seen[-1] == (frames, frames)
    assert (meta.num_frames, meta.size, meta.fps) == (frames, (40, 56), 25)
    assert meta.source.sha256 == content_hash(clip)
    assert meta.fingerprint == ae.fingerprint


@pytest.mark.parametrize("memory", [None, "40MB"])
def test_decoding_gives_what_decoding_the_whole_clip_gives(
    tmp_path: Path, ae: vidlatent.Autoencoder, memory: str | None
) -> None:
    clip = make_clip(tmp_path / "a.mp4", 23)
    encode_clip(clip, ae, tmp_path / "a.safetensors", size=(35, 45))
    assert decode_clip(tmp_path / "a.safetensors", ae, tmp_path / "b.mkv", memory=memory, crf=0) == 23
    with open_latents(tmp_path / "a.safetensors") as latents, torch.no_grad():
        z = latents.read().float().transpose(0, 1)[None]
        want = to_uint8(ae.decode(z, num_frames=23, size=(35, 45)))
    got, _ = read_clip(tmp_path / "b.mkv")
    assert got.shape == want.shape == (23, 35, 45, 3)
    assert (got.float() - want.float()).abs().mean() < 1.5  # a video codec lies between


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_constant_rate_comes_back_exactly(
    tmp_path: Path, ae: vidlatent.Autoencoder, fps: Fraction, suffix: str
) -> None:
    # Matroska rounds times to milliseconds, which must not become a rate of 29.998.
    clip = make_clip(tmp_path / f"a{suffix}", 31, fps=fps)
    encode_clip(clip, ae, tmp_path / "a.safetensors")
    decode_clip(tmp_path / "a.safetensors", ae, tmp_path / "b.mp4")
    with vidlatent.open_video(tmp_path / "b.mp4") as source:
        assert source.spec.fps == fps
        assert [t for c in source for t in c.pts_seconds] == [k / fps for k in range(31)]


def test_a_variable_rate_keeps_its_times(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    steps = [Fraction(k, 90) for k in (3, 3, 9, 1, 3, 30, 3, 2, 3, 3, 4, 90, 3, 3)]
    times = [Fraction(0), *accumulate(steps)]
    clip = make_clip(tmp_path / "a.mp4", len(times), fps=30, times=times)
    encode_clip(clip, ae, tmp_path / "a.safetensors")
    with open_latents(tmp_path / "a.safetensors") as latents:
        assert list(latents.times()) == times
    decode_clip(tmp_path / "a.safetensors", ae, tmp_path / "b.mp4")
    frames, shown = read_clip(tmp_path / "b.mp4")
    assert shown == times
    assert len(frames) == len(times)


def test_a_part_of_a_clip_at_another_rate_and_size(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    clip = make_clip(tmp_path / "a.mp4", 50)
    meta = encode_clip(clip, ae, tmp_path / "a.safetensors", start=0.4, stop=1.2, fps=10, size=32)
    with open_latents(tmp_path / "a.safetensors") as latents:
        assert latents.times() == tuple(Fraction(4 + k, 10) for k in range(8))
        assert latents.meta.source == meta.source
    assert (meta.source.start_seconds, meta.source.stop_seconds) == (Fraction(2, 5), Fraction(6, 5))
    assert (meta.source.size, meta.source.fps, meta.size) == ((32, 45), 10, (32, 45))
    decode_clip(tmp_path / "a.safetensors", ae, tmp_path / "b.mp4")
    assert read_clip(tmp_path / "b.mp4")[1] == [Fraction(k, 10) for k in range(8)]


def test_sound_is_copied_from_where_the_part_begins(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    silent = make_clip(tmp_path / "silent.mp4", 75)
    clip = tmp_path / "a.mkv"
    _add_sound(silent, clip, seconds=3)
    encode_clip(clip, ae, tmp_path / "a.safetensors", start=1, stop=2)
    decode_clip(tmp_path / "a.safetensors", ae, tmp_path / "b.mkv", audio_from=clip)
    with av.open(str(tmp_path / "b.mkv")) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        assert 0.8 < samples / stream.rate < 1.2


def test_another_autoencoder_is_refused_and_both_are_named(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    other = vidlatent.build("vidlatent-tiny", seed=1, **vars(ae.config))
    encode_clip(make_clip(tmp_path / "a.mp4", 5), ae, tmp_path / "a.safetensors")
    with pytest.raises(LatentFileError) as caught:
        decode_clip(tmp_path / "a.safetensors", other, tmp_path / "b.mp4")
    assert ae.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)
    assert not (tmp_path / "b.mp4").exists()
    assert decode_clip(tmp_path / "a.safetensors", other, tmp_path / "b.mp4", allow_other_model=True) == 5


def test_a_failure_leaves_no_file(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    clip = make_clip(tmp_path / "a.mp4", 60)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_clip(clip, ae, tmp_path / "a.safetensors", progress=stop)
    with pytest.raises(InputError):
        encode_clip(clip, ae, tmp_path / "a.safetensors", start=5, stop=4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_reconstruction_pairs_every_frame_with_its_own(tmp_path: Path, ae: vidlatent.Autoencoder) -> None:
    clip = make_clip(tmp_path / "a.mp4", 39)
    pairs: list[Pair] = []
    meta = reconstruct_clip(clip, ae, tmp_path / "a.safetensors", pairs.append, memory="100MB")
    assert meta == encode_clip(clip, ae, tmp_path / "b.safetensors", memory="50MB")
    frames, times = read_clip(clip)
    torch.testing.assert_close(torch.cat([p.original for p in pairs]), frames, rtol=0, atol=0)
    assert [t for p in pairs for t in p.pts_seconds] == times
    with open_latents(tmp_path / "a.safetensors") as latents, torch.no_grad():
        want = to_uint8(ae.decode(latents.read().float().transpose(0, 1)[None], num_frames=39, size=(40, 56)))
    got = torch.cat([p.reconstruction for p in pairs])
    assert (got.int() - want.int()).abs().max() <= 1


def _add_sound(silent: Path, out: Path, *, seconds: int) -> None:
    with av.open(str(silent)) as video, av.open(str(out), "w") as container:
        picture = container.add_stream_from_template(video.streams.video[0])
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        container.start_encoding()
        for packet in video.demux(video.streams.video[0]):
            if packet.dts is not None:
                packet.stream = picture
                container.mux(packet)
        tone = (torch.arange(800) % 40 * 500).to(torch.int16).view(1, -1).numpy()
        for index in range(seconds * 10):
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.rate, frame.pts = 8000, index * 800
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def test_the_pattern_moves() -> None:
    assert not torch.equal(moving(2)[0], moving(2)[1])
