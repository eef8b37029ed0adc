"""The world model that comes with the package makes its world: a disc in every frame, which moves and keeps itself."""

import torch

import vidlatent as vl
from vidlatent.diffusion import Schedule, load_model, rollout
from vidlatent.diffusion.packaged import DEFAULT_MODEL, find_model
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.worlds import build_world, clip_measures

CLIPS, LATENTS, STEPS = 3, 9, 6


def test_discs_are_there_and_move() -> None:
    dit, ae = load_model(find_model(DEFAULT_MODEL)), vl.load("vidlatent-tiny")
    made = Provenance.of(dit)
    made.check(ae.fingerprint, name="vidlatent-tiny")
    size = ae.latent_spec.latent_size(*made.size)
    schedule = Schedule(STEPS, lag=STEPS, shift=made.shift)
    latents = list(
        rollout(
            dit, schedule=schedule, num_frames=LATENTS, size=size, batch=CLIPS, context_noise=made.context_noise, seed=1
        )
    )
    with torch.no_grad():
        video = ae.decode(made.denormalize(torch.cat(latents, 2))).clamp(-1, 1)[:, :, 1:]
    world = build_world(made.world["name"], **made.world["options"])
    measures = [clip_measures(clip, world, lengths=(32,))[32] for clip in video]
    assert sum(measure["count"] for measure in measures) / CLIPS < 0.1
    for measure in measures:
        assert measure["brightness"] < 0.5
        assert 0.3 < measure["motion"] < 2
