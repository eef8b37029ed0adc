"""The prior over codes: causal, cached as uncached, and able to learn and to continue what it saw."""

from pathlib import Path

import pytest
import torch

from vidlatent.diffusion.codes import CodeTransformer, CodeTransformerConfig, load_prior, save_prior
from vidlatent.errors import InputError, ModelError

GRID = (3, 2, 3)


@pytest.fixture
def model() -> CodeTransformer:
    torch.manual_seed(0)
    return CodeTransformer(CodeTransformerConfig(size=11, dim=24, depth=2, heads=2, classes=2)).eval()


def codes(batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 11, (batch, *GRID), generator=torch.Generator().manual_seed(0))


def test_a_code_sees_only_those_before_it(model: CodeTransformer) -> None:
    seen = codes()
    changed = seen.clone()
    changed.flatten(1)[:, 7] = (changed.flatten(1)[:, 7] + 1) % 11
    with torch.no_grad():
        a, b = model(seen), model(changed)
    torch.testing.assert_close(a[:, :8], b[:, :8])
    assert not torch.allclose(a[:, 8:], b[:, 8:])


def test_sampling_with_the_cache_takes_the_likeliest_codes_of_the_whole_pass(model: CodeTransformer) -> None:
    drawn = model.sample(GRID, batch=2, temperature=0)
    with torch.no_grad():
        assert torch.equal(model(drawn).argmax(-1), drawn.flatten(1))


def test_a_beginning_is_kept_and_continued(model: CodeTransformer) -> None:
    begin = codes()[:, :2]
    drawn = model.sample(GRID, begin=begin, temperature=0)
    assert torch.equal(drawn[:, :2], begin)
    with torch.no_grad():
        assert torch.equal(model(drawn).argmax(-1)[:, 12:], drawn.flatten(1)[:, 12:])
    with pytest.raises(InputError, match="no beginning"):
        model.sample((3, 2, 2), begin=begin)


def test_the_seed_decides_and_top_k_bounds(model: CodeTransformer) -> None:
    first, again = (model.sample(GRID, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(model.sample(GRID, top_k=1), model.sample(GRID, temperature=0))


def test_it_learns_which_codes_follow_from_a_label(model: CodeTransformer, tmp_path: Path) -> None:
    want, labels = codes(), torch.tensor([0, 1])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model.loss(want, labels)
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    save_prior(model, tmp_path / "prior.safetensors")
    drawn = load_prior(tmp_path / "prior.safetensors").sample(GRID, batch=2, labels=labels, temperature=0)
    assert torch.equal(drawn, want)


def test_wrong_codes_and_files_are_refused(model: CodeTransformer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 to 10"):
        model(torch.full((1, *GRID), 11))
    with pytest.raises(InputError, match="heads"):
        CodeTransformer(CodeTransformerConfig(size=4, dim=25, heads=2))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="torn"):
        load_prior(tmp_path / "torn.safetensors")
