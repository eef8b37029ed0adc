"""Plans for models of many kinds, and prints which of torch's large helpers were imported for it."""

import sys

import vidlatent as vl

MODELS = (
    "wan-2.1",
    "ltx-2",
    "ltx-video-0.9.5",
    "cogvideox-2b",
    "taehv",
    "dc-ae-f32c32-sana",
    "vidtok-kl-488-4",
    "wf-vae-l-16",
)

for model in MODELS:
    ae = vl.build(model)
    for direction in ("encode", "decode"):
        spec = ae.latent_spec
        size = spec.num_frames(3), 8 * spec.stride[1], 4 * spec.stride[2]
        for memory in (1 << 50, 1):
            try:
                vl.plan(ae, frames=size[0], height=size[1], width=size[2], memory=memory, direction=direction)
            except vl.BudgetTooSmall:
                continue
        for name in {"sympy", "torch._dynamo"} & set(sys.modules):
            sys.exit(f"planning to {direction} with {model} imports {name}")
