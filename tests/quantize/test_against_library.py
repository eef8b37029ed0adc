"""Quantisers beside vector-quantize-pytorch's on the same input: codes, vectors, and how codebooks are learned."""

import warnings

import pytest
import torch

from vidlatent.quantize import BinaryQuantizer, FiniteScalarQuantizer, VectorQuantizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    library = pytest.importorskip("vector_quantize_pytorch")


def grid(rows: torch.Tensor) -> torch.Tensor:
    """Rows (N, C) as a clip of one row of latents."""
    return rows.T[None, :, None, None, :]


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 4), (4, 7, 6)])
def test_finite_scalars(levels: tuple[int, ...]) -> None:
    theirs, ours = library.FSQ(list(levels)), FiniteScalarQuantizer(levels)
    rows = 2 * torch.randn(200, len(levels), generator=torch.Generator().manual_seed(0))
    want, codes = theirs(rows[None])
    got = ours.bottle(grid(rows))
    torch.testing.assert_close(got.latents[0, :, 0, 0].T, want[0])
    assert torch.equal(got.codes[0].flatten(), codes.flatten().long())


def test_binary_codes() -> None:
    theirs, ours = library.LFQ(dim=10, codebook_size=2**10), BinaryQuantizer(10)
    rows = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    want, codes, _ = theirs(rows[None])
    got = ours.bottle(grid(rows))
    torch.testing.assert_close(got.latents[0, :, 0, 0].T, want[0])
    assert torch.equal(got.codes[0].flatten(), codes.flatten())


def test_the_entropy_of_binary_codes() -> None:
    rows = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    theirs = library.LFQ(dim=6, codebook_size=2**6, diversity_gamma=0.5).train()
    _, terms = theirs(rows[None], inv_temperature=1.0, return_loss_breakdown=True)
    got = BinaryQuantizer(6, diversity=0.5).bottle(grid(rows)).losses["entropy"]
    assert got.item() == pytest.approx(
        (terms.per_sample_entropy - 0.5 * terms.batch_entropy).item(), rel=1e-3
    )  # theirs clamps logarithms


def test_moving_averages_of_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = library.VectorQuantize(dim=4, codebook_size=8, decay=0.9, rotation_trick=False).train()
    ours = VectorQuantizer(4, 8, decay=0.9, revive_below=0).train()
    start = torch.randn(8, 4, generator=generator)
    ours.embedding.copy_(start)
    ours.started.fill_(1)
    ours.counts.fill_(1)
    ours.sums.copy_(start)
    theirs.codebook = start
    theirs._codebook.embed_avg.copy_(start[None])
    theirs._codebook.cluster_size.fill_(1)
    for _ in range(5):
        rows = torch.randn(100, 4, generator=generator)
        _, codes, commitment = theirs(rows[None])
        got = ours.bottle(grid(rows))
        assert torch.equal(got.codes[0].flatten(), codes.flatten())
        assert got.losses["commitment"].item() == pytest.approx(commitment.item(), rel=1e-4)
    torch.testing.assert_close(ours.embedding, theirs.codebook, rtol=1e-4, atol=1e-5)


def test_vectors_that_nothing_uses_are_put_on_latents() -> None:
    torch.manual_seed(0)
    ours = VectorQuantizer(2, 32, decay=0.9, revive_below=0.5).train()
    ours.started.fill_(1)
    ours.embedding.fill_(100.0)
    rows = torch.randn(500, 2)
    for _ in range(40):
        codes = ours.bottle(grid(rows)).codes[0]
    assert len(codes.unique()) > 24
