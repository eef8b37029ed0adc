"""LPIPS against torchmetrics at the same weights, and the distance that needs none."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vidlatent.errors import InputError, ModelError
from vidlatent.metrics import LPIPS, PerceptualDistance, lpips


def trunk(net: str) -> nn.Sequential:
    """The classifier's layers as torchvision numbers them, with random weights."""
    torch.manual_seed(5)
    if net == "alex":
        return nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        channels = width or channels
    return nn.Sequential(*layers)


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    want = torch.rand(2, 3, 64, 72, generator=generator) * 2 - 1
    return (want + 0.2 * torch.randn(want.shape, generator=generator)).clamp(-1, 1), want


@pytest.fixture
def weights(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """A trunk in torchvision's names, and the published heads, which come with torchmetrics."""
    net = request.param
    path = tmp_path / f"{net}-trunk.pth"
    torch.save({f"features.{name}": value for name, value in trunk(net).state_dict().items()}, path)
    return [path, Path(str(files("torchmetrics") / "functional" / "image" / "lpips_models" / f"{net}.pth"))]


@pytest.mark.parametrize(("weights", "net"), [("vgg", "vgg"), ("alex", "alex")], indirect=["weights"])
def test_lpips_is_torchmetrics(weights: list[Path], net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import lpips as reference

    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_, **__: trunk(net))
    theirs = reference._LPIPS(pretrained=True, net=net, use_dropout=True).eval()
    ours = PerceptualDistance(net, weights)
    got, want = pictures()
    torch.testing.assert_close(ours(got, want), theirs(got, want).flatten(), rtol=1e-4, atol=1e-7)
    assert ours.name == f"lpips-{net}"
    clips = [picture.unsqueeze(2).repeat(1, 1, 3, 1, 1) for picture in (got, want)]
    torch.testing.assert_close(ours(*clips), ours(got, want))
    assert lpips(*clips, net=net, weights=weights) == pytest.approx(float(ours(got, want).mean()))


@pytest.mark.parametrize("weights", ["alex"], indirect=True)
def test_wrong_weights_are_told(weights: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lack head0"):
        PerceptualDistance("alex", weights[0])
    with pytest.raises(ModelError, match=r"another network|lack"):
        PerceptualDistance("vgg", weights)
    with pytest.raises(ModelError, match="no such file"):
        PerceptualDistance("vgg", tmp_path / "nowhere.pth")
    torn = tmp_path / "torn.pth"
    torn.write_bytes(weights[0].read_bytes()[:1000])
    with pytest.raises(ModelError, match="torn"):
        PerceptualDistance("vgg", torn)
    with pytest.raises(InputError, match="net='squeeze'"):
        PerceptualDistance("squeeze")  # type: ignore[arg-type]


def test_the_distance_without_weights_orders_damage_and_has_gradients() -> None:
    distance = PerceptualDistance()
    assert distance.name == "laplacian"
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    want = torch.stack([torch.sin(0.2 * x + k) * torch.cos(0.15 * y) for k in range(3)])[None]
    noise = torch.randn(want.shape, generator=torch.Generator().manual_seed(0))
    grown = [float(distance(want + strength * noise, want)) for strength in (0.0, 0.02, 0.05, 0.2)]
    assert grown == sorted(grown)
    assert grown[0] == 0 < grown[1]
    got = (want + 0.05 * noise).requires_grad_()
    distance(got, want).sum().backward()
    assert got.grad is not None
    assert torch.isfinite(got.grad).all()
    assert got.grad.abs().sum() > 0
    at_rest = want.clone().requires_grad_()
    distance(at_rest, want).sum().backward()
    assert torch.isfinite(at_rest.grad).all()  # type: ignore[arg-type]


def test_the_accumulator_takes_slabs_and_merges() -> None:
    generator = torch.Generator().manual_seed(1)
    got, want = (torch.rand(1, 3, 5, 40, 40, generator=generator) * 2 - 1 for _ in range(2))
    parts = [LPIPS(), LPIPS()]
    for part, (a, b) in zip(parts, ((0, 2), (2, 5)), strict=True):
        part.update(got[:, :, a:b], want[:, :, a:b])
    assert parts[1].merge(parts[0]).compute() == pytest.approx(lpips(got, want), abs=1e-7)
    with pytest.raises(InputError, match="at least 32"):
        PerceptualDistance()(got[..., :16], want[..., :16])
