"""A weight file alone: loaded where one configuration fits its tensors, refused where several do."""

from pathlib import Path

import pytest
import torch
from loading_helpers import refused

from vidlatent.autoencoders import build, catalog, load
from vidlatent.autoencoders.catalog import Entry
from vidlatent.autoencoders.diffusers_format import adapter
from vidlatent.autoencoders.families import shapes_of
from vidlatent.autoencoders.image_kl.config import ImageKLConfig

SMALL = ImageKLConfig(widths=(4, 8), groups=2)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a small image autoencoder, which is in the catalogue beside one that is scaled otherwise."""
    entries = {"small": Entry("image-kl", SMALL, "none")}
    monkeypatch.setattr(catalog, "CATALOG", entries)
    monkeypatch.setattr("vidlatent.autoencoders.loading.CATALOG", entries)
    small = build("small", seed=1)
    links = adapter("image-kl").links(SMALL, shapes_of(small), "original")
    torch.save({link.theirs: link.write(small.state_dict()[link.ours]) for link in links}, tmp_path / "small.pt")
    return tmp_path / "small.pt"


def test_one_configuration_that_fits_is_taken(weights: Path) -> None:
    assert load(weights).fingerprint == build("small", seed=1).fingerprint


def test_the_same_under_two_names_is_one(weights: Path) -> None:
    catalog.CATALOG["twin"] = Entry("image-kl", SMALL, "none")
    assert load(weights).config == SMALL


def test_several_that_fit_are_named(weights: Path) -> None:
    catalog.CATALOG["scaled"] = Entry("image-kl", ImageKLConfig(widths=(4, 8), groups=2, scaling_factor=0.5), "none")
    refused("its tensors are those of small, scaled, which differ in other ways", weights)
    assert load("scaled", weights=weights).config.scaling_factor == 0.5
