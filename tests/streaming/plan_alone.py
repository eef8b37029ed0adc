"""Plan for the models that are named, and say which of torch's large helpers were imported for it."""

import sys

import vidlatent as vl

for model in sys.argv[1:]:
    ae = vl.build(model)
    spec = ae.latent_spec
    for direction in ("encode", "decode"):
        for memory in (1 << 50, 1):
            size = {"frames": spec.num_frames(3), "height": 8 * spec.stride[1], "width": 4 * spec.stride[2]}
            try:
                vl.plan(ae, **size, memory=memory, direction=direction)
            except vl.BudgetTooSmall:
                continue
        for name in {"sympy", "torch._dynamo"} & set(sys.modules):
            sys.exit(f"planning to {direction} with {model} imports {name}")
