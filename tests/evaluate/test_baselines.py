"""The linear code in runs of frames is the linear code of whole clips."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlatent.evaluate.baselines import LinearCode, fit_pca
from vidlatent.evaluate.candidate import Shape
from vidlatent.io import to_float, to_uint8
from vidlatent.metrics import PatchPCA

PATCH = (4, 4, 4)


def cut(clip: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    parts = []
    while len(clip):
        size = sizes[len(parts) % len(sizes)]
        parts.append(clip[:size])
        clip = clip[size:]
    return parts


@settings(max_examples=8, deadline=None)
@given(frames=st.integers(1, 11), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_runs_of_frames_make_the_code_of_the_whole_clip(frames: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(frames)
    clip = torch.randint(0, 256, (frames, 19, 22, 3), generator=generator, dtype=torch.uint8)
    more = (1 - frames) % 4
    whole = torch.nn.functional.pad(to_float(clip), (0, 2, 0, 1, 0, more), mode="replicate")

    want = PatchPCA(PATCH, 6)
    want.add(whole)
    want.solve()
    got = fit_pca([cut(clip, sizes)], PATCH, 6)
    torch.testing.assert_close(got.mean, want.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(got.scale, want.scale, rtol=1e-3, atol=1e-3)

    code = LinearCode(want).encode(cut(clip, sizes), Shape(frames, 19, 22))
    torch.testing.assert_close(code.latents, want.encode(whole), rtol=0, atol=1e-4)
    made = torch.cat(list(LinearCode(want).decode(code)))
    assert made.shape == clip.shape
    expected = to_uint8(want.reconstruct(whole)[:, :, :frames, :19, :22])
    assert int((made.int() - expected.int()).abs().max()) <= 1
