"""One predicate, written out by hand, as a boolean mask and as FlexAttention's."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from diffusion_helpers import latents

from vidlatent.diffusion import Causal, Full, Local, TeacherForcing
from vidlatent.diffusion.attention import attend, choose_backend
from vidlatent.diffusion.masks import Mask, Predicate, mask_for
from vidlatent.errors import InputError, MissingDependency


def rows(predicate: Predicate, queries: int, keys: int) -> list[str]:
    return ["".join("x" if seen else "." for seen in row) for row in Mask(predicate, queries, keys, 1).frames()]


def test_who_sees_whom() -> None:
    assert rows(Causal(), 3, 3) == ["x..", "xx.", "xxx"]
    assert rows(Causal(block=2), 4, 4) == ["xx..", "xx..", "xxxx", "xxxx"]
    assert rows(Causal(window=1), 4, 4) == ["x...", "xx..", ".xx.", "..xx"]
    assert rows(Causal(block=2, window=2), 6, 6)[4:] == ["..xxxx", "..xxxx"]
    assert rows(Causal(window=1, sinks=1), 4, 4) == ["x...", "xx..", "xxx.", "x.xx"]
    assert rows(Local(1), 4, 4) == ["xx..", "xxx.", ".xxx", "..xx"]
    assert rows(Full(), 2, 3) == ["xxx", "xxx"]
    assert rows(Causal(), 2, 4) == ["xxx.", "xxxx"]
    assert rows(TeacherForcing(3), 6, 6) == ["x.....", "xx....", "xxx...", "...x..", "x...x.", "xx...x"]
    assert rows(TeacherForcing(4, Causal(block=2, window=2)), 8, 8)[4:] == ["....xx.."] * 2 + ["xx....xx"] * 2


def test_no_mask_where_all_is_visible() -> None:
    assert mask_for(Full(), 4, 4, 5) is None
    assert mask_for(Causal(block=2), 2, 8, 5) is None
    assert mask_for(Causal(), 2, 8, 5) is not None


def test_windows_that_cut_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="window=3: allowed are multiples of block=2"):
        Causal(block=2, window=3)


PREDICATES = [Causal(), Causal(2, 2, 2), Local(1), TeacherForcing(3)]


@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("queries", [6, 2])
def test_what_tokens_see_is_the_boolean_mask(predicate: Predicate, queries: int) -> None:
    mask = Mask(predicate, queries, 6, 3)
    seen = mask.sees(torch.arange(queries * 3)[:, None], torch.arange(18)[None])
    assert torch.equal(seen, mask.dense(torch.device("cpu")))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("queries", [6, 2])
def test_flex_attention_is_the_boolean_mask(predicate: Predicate, queries: int) -> None:
    tokens, keys = 3, 6
    mask = Mask(predicate, queries, keys, tokens)
    q, k, v = (latents(2, n * tokens, 2, 16, seed=n, dtype=torch.float32) for n in (queries, keys, keys + 1))
    v = v[:, : keys * tokens]
    torch.testing.assert_close(attend(q, k, v, mask, "flex"), attend(q, k, v, mask, "sdpa"), rtol=0, atol=1e-6)


def test_backends_on_cuda() -> None:
    half, single = (SimpleNamespace(is_cuda=True, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    assert choose_backend(single, Mask(Causal(), 8, 8, 1024)) == "flex"
    assert choose_backend(single, Mask(Causal(), 8, 8, 16)) == "sdpa"
    assert choose_backend(single, None) == "sdpa"
    installed = [name for name in ("flash", "xformers") if find_spec({"flash": "flash_attn"}.get(name, name))]
    assert choose_backend(half, None) == [*installed, "sdpa"][0]


def test_backends_on_the_cpu() -> None:
    q = latents(1, 4, 2, 8)
    assert choose_backend(q, None) == "sdpa"
    with pytest.raises(MissingDependency, match="xformers"):
        attend(q, q, q, backend="xformers")
