"""Clips side by side, as streams and in any slabs give what each gives alone and whole."""

import pytest
import torch
from encode_helpers import seeded
from pipeline_helpers import moving
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.encode.pipeline.encoder import ClipEncoder
from vidlatent.errors import BudgetTooSmall
from vidlatent.io import to_float

KEYS = ["0123456789abcdef", "fedcba9876543210", "00000000000000ff"]


@pytest.fixture(scope="module")
def ae() -> Autoencoder:
    return seeded()


@pytest.fixture(scope="module")
def clips() -> list[Tensor]:
    return [moving(21 + index)[index:] for index in range(3)]


@pytest.mark.parametrize("memory", [None, "60MB"])
def test_a_batch_equals_each_clip_alone(ae: Autoencoder, clips: list[Tensor], memory: str | None) -> None:
    encoder = ClipEncoder(ae, memory=memory)
    together = encoder.encode([clip.split(5) for clip in clips], KEYS)
    for clip, latents in zip(clips, together, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(latents, ae.encode(to_float(clip)).mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.encode([[clip]], KEYS[:1])[0], latents, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("run", [1, 7, 16, 21])
def test_a_stream_equals_the_whole_clip(ae: Autoencoder, clips: list[Tensor], run: int) -> None:
    encoder = ClipEncoder(ae)
    pieces = list(encoder.stream(iter(clips[0].split(run)), (40, 56), KEYS[0]))
    torch.testing.assert_close(torch.cat(pieces, 2), encoder.encode([[clips[0]]], KEYS)[0], rtol=1e-4, atol=1e-5)


def test_a_sample_depends_on_the_key_alone(ae: Autoencoder, clips: list[Tensor]) -> None:
    encoder = ClipEncoder(ae, kind="sample")
    together = encoder.encode([[clip] for clip in clips], KEYS)
    alone = torch.cat(list(encoder.stream(iter(clips[1].split(3)), (40, 56), KEYS[1])), 2)
    torch.testing.assert_close(alone, together[1], rtol=1e-4, atol=1e-5)
    other = encoder.encode([[clips[1]]], KEYS[:1])[0]
    mean = ClipEncoder(ae).encode([[clips[1]]], KEYS)[0]
    if ae.has_logvar:
        assert not torch.allclose(other, together[1], atol=1e-3)
        assert not torch.allclose(mean, together[1], atol=1e-3)
        both = ClipEncoder(ae, kind="moments").encode([[clips[1]]], KEYS)[0]
        torch.testing.assert_close(both[:, : mean.shape[1]], mean)


def test_batches_shrink_to_the_budget_and_one_that_fits_nothing_is_told_when_it_is_used(ae: Autoencoder) -> None:
    small, large = (17, 32, 32), (17, 512, 512)
    free, tight = ClipEncoder(ae, batch=32), ClipEncoder(ae, batch=32, memory="20MB")
    assert free.batch_of(small) == 32 > tight.batch_of(small) >= 1
    assert ClipEncoder(ae).batch_of(small) > ClipEncoder(ae).batch_of(large) == 1
    hopeless = ClipEncoder(ae, memory="1MB")
    assert hopeless.batch_of(small) == 1
    with pytest.raises(BudgetTooSmall):
        hopeless.encode([[moving(17, height=32, width=32)]], KEYS[:1])
