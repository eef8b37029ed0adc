"""PSNR, SSIM, MS-SSIM and kernel distance against scikit-image, torchmetrics and ffmpeg; Frechet against scipy."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidlatent import metrics
from vidlatent.errors import InputError, MissingDependency, ModelError


def natural(data_dir: Path, size: int) -> Tensor:
    """Frames of a real clip, uint8 (T, H, W, 3)."""
    from vidlatent.io import open_video

    with open_video(data_dir / "natural/test/decord_pancake_240p.mkv", size=(size, size), chunk_frames=3) as source:
        return next(iter(source)).frames


def damaged(frames: Tensor, strength: float = 12) -> Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)) * strength
    return (frames + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.data
def test_scikit_image_agrees(data_dir: Path) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from vidlatent.io import to_float

    want = natural(data_dir, 96)
    got = damaged(want)
    ours, signal = (f(to_float(got), to_float(want))[0] for f in (metrics.frame_ssim, metrics.frame_psnr))
    for t, (x, y) in enumerate(zip(got.numpy(), want.numpy(), strict=True)):
        options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}
        theirs = structural_similarity(x.astype(float), y.astype(float), **options)
        assert float(ours[t]) == pytest.approx(theirs, abs=1e-5)
        assert float(signal[t]) == pytest.approx(peak_signal_noise_ratio(y, x), abs=1e-5)


@pytest.mark.data
def test_torchmetrics_agrees(data_dir: Path) -> None:
    """Its parts, put together without the reflected border that it counts at the last scale."""
    from torchmetrics.functional.image import structural_similarity_index_measure as reference

    from vidlatent.io import to_float

    want = natural(data_dir, 192)
    got, want = to_float(damaged(want)), to_float(want)
    for t, value in enumerate(metrics.frame_ms_ssim(got, want)[0]):
        x, y = got[:, :, t], want[:, :, t]
        theirs = 1.0
        for exponent in (0.0448, 0.2856, 0.3001, 0.2363):
            theirs *= float(reference(x, y, data_range=2.0, return_contrast_sensitivity=True)[1]) ** exponent
            x, y = (torch.nn.functional.avg_pool2d(z, 2) for z in (x, y))
        _, last = reference(x + 1, y + 1, data_range=2.0, return_full_image=True)
        assert float(value) == pytest.approx(theirs * float(last[..., 5:-5, 5:-5].mean()) ** 0.1333, abs=1e-5)
    assert metrics.ms_ssim(want, want) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(InputError, match="176x176"):
        metrics.ms_ssim(got[..., :160], want[..., :160])


@pytest.mark.data
def test_ffmpeg_agrees(data_dir: Path, tmp_path: Path, ffmpeg: str) -> None:
    """Its psnr filter on RGB is the definition; its ssim filter has 8x8 windows and is only close to ours."""
    from vidlatent.io import to_float

    want = natural(data_dir, 96)
    got = damaged(want, 6)
    inputs: list[str] = []
    for name, frames in (("got", got), ("want", want)):
        inputs += ["-f", "rawvideo", "-pix_fmt", "gbrp", "-s", "96x96", "-i", name]
        planes = frames.permute(0, 3, 1, 2)[:, [1, 2, 0]].contiguous()
        (tmp_path / name).write_bytes(planes.numpy().tobytes())
    answers = {}
    for graph in ("psnr", "ssim"):
        command = [ffmpeg, "-hide_banner", *inputs, "-lavfi", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        found = re.search(r"(?:average|All):([\d.]+)", done.stderr)
        assert found
        answers[graph] = float(found[1])
    got_clip, want_clip = to_float(got), to_float(want)
    assert metrics.psnr(got_clip, want_clip) == pytest.approx(answers["psnr"], abs=1e-4)
    assert metrics.ssim(got_clip, want_clip) == pytest.approx(answers["ssim"], abs=0.05)


def test_frechet_is_scipys_square_root() -> None:
    from scipy.linalg import sqrtm

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 40, 6, generator=generator, dtype=torch.double)
    b = b * 1.5 + 0.3
    moments = [(x.mean(0), torch.cov(x.T)) for x in (a, b)]
    (m1, s1), (m2, s2) = moments
    want = (m1 - m2).square().sum() + np.trace(s1 + s2 - 2 * torch.from_numpy(sqrtm((s1 @ s2).numpy()).real))
    assert metrics.frechet_distance(m1, s1, m2, s2) == pytest.approx(float(want), rel=1e-9)
    assert metrics.frechet_distance(m1, s1, m1, s1) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20, 6, generator=generator, dtype=torch.double)
    assert metrics.kernel_distance(a, b + 0.2) == pytest.approx(float(poly_mmd(a, b + 0.2)), rel=1e-9)


class Detector(torch.nn.Module):
    """What a published I3D file answers to."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        assert return_features
        assert not rescale
        assert not resize
        return x.mean((2, 3, 4)) * 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_local_extractors(tmp_path: Path) -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    config = VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    model = VideoMAEModel(config).eval()
    model.save_pretrained(tmp_path / "videomae")
    video = torch.rand(2, 3, 4, 32, 32) * 2 - 1
    extractor = metrics.load_extractor("videomae", tmp_path / "videomae")
    assert extractor.num_frames == 4
    mean, std = (torch.tensor(v).view(1, 1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    want = model(((video.transpose(1, 2) + 1) / 2 - mean) / std).last_hidden_state.mean(1)
    torch.testing.assert_close(extractor(video), want)

    torch.jit.script(Detector()).save(str(tmp_path / "i3d.pt"))
    extractor = metrics.load_extractor("i3d", tmp_path / "i3d.pt")
    clips = torch.rand(2, 3, 16, 24, 24) * 2 - 1
    torch.testing.assert_close(extractor(clips), clips.mean((2, 3, 4)) * 3, atol=0.02, rtol=0)
    assert metrics.fvd(clips, clips + 0.5, extractor=extractor) == pytest.approx(3 * 1.5**2, rel=1e-3)
    with pytest.raises(InputError, match="16 frames"):
        metrics.fvd(video, video, extractor=extractor)


def test_missing_extractors_are_told(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(b"nothing")
    for name, weights in (("i3d", None), ("i3d", tmp_path / "none.pt"), ("i3d", tmp_path / "file.pt")):
        with pytest.raises(ModelError, match=r"weights|no such file|TorchScript"):
            metrics.load_extractor(name, weights)
    with pytest.raises(ModelError, match=r"config\.json"):
        metrics.load_extractor("videomae", tmp_path)
    with pytest.raises(InputError, match="expected i3d"):
        metrics.load_extractor("resnet")


def test_vmaf_answers_or_says_what_is_missing() -> None:
    frames = torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8)
    if metrics.vmaf_version() is None:
        with pytest.raises(MissingDependency, match="libvmaf"):
            metrics.vmaf(frames, frames)
    else:
        assert metrics.vmaf(frames, frames) > 90


def test_vmaf_reads_what_ffmpeg_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the program: this machine's ffmpeg may lack libvmaf."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*-filters*) echo ' .. libvmaf VV->V';;\n"
        "*-version*) echo 'ffmpeg version 9';;\n"
        '*) [ "$(wc -c < got)" = 24576 ] && echo \'{"pooled_metrics": {"vmaf": {"mean": 93.5}}}\' > vmaf.json;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    metrics.vmaf_version.cache_clear()
    try:
        frames = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
        assert metrics.vmaf(frames, frames) == 93.5
        with pytest.raises(InputError, match="one shape"):
            metrics.vmaf(frames, frames[:1])
    finally:
        metrics.vmaf_version.cache_clear()
