"""A dataset counts latent frames as its autoencoder does."""

from dataclasses import asdict

import pytest
from dataset_helpers import settings

from vidlatent.autoencoders import LatentSpec

RULES = [("single", 0), ("grouped", 0), ("single", 5), ("grouped", 3)]


@pytest.mark.parametrize(("first_frame", "run"), RULES)
def test_latents_are_counted_as_the_spec_does(first_frame: str, run: int) -> None:
    spec = LatentSpec(4, (4, 8, 8), first_frame, run=run)  # type: ignore[arg-type]
    kept = settings(latent_spec=asdict(spec))
    for frames in range(1, 60):
        count = spec.num_latent_frames(frames)
        assert kept.latent_grid(frames, (9, 8)) == (count, 2, 1)
        assert spec.num_frames(count - 1) < frames <= spec.num_frames(count)
        assert kept.latent_frame(frames - 1) == count - 1


def test_a_run_of_five_begins_with_a_single_frame() -> None:
    spec = LatentSpec(4, (4, 16, 16), run=5)
    assert [spec.num_frames(count) for count in range(1, 8)] == [1, 5, 9, 13, 17, 18, 22]
