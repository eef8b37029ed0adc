"""Few steps on a toy: every way to distil lowers its loss, and beats the teacher sampled in as many steps."""

import pytest
import torch
from ring_world import FRAMES, RingLatents, descend, off_ring, places_taken, ring_config

from vidlatent.diffusion.checkpoint import load_model, save_model
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.rollout import rollout
from vidlatent.diffusion.samplers import euler
from vidlatent.diffusion.schedule import Schedule
from vidlatent.diffusion.stochastic import renoise
from vidlatent.errors import InputError, ModelError
from vidlatent.train import distill_consistency, distill_dmd, distill_ladd, flow

LEVELS = (0.0, 0.5, 1.0)
WAYS = {
    "consistency": (distill_consistency, {"grid": 8}, 2e-3),
    "dmd": (distill_dmd, {"critic_updates": 2, "critic": {"learning_rate": 2e-3, "betas": [0, 0.99]}}, 1e-3),
    "ladd": (distill_ladd, {"discriminator": {"learning_rate": 2e-3, "betas": [0, 0.99]}}, 5e-4),
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("ring") / "teacher.safetensors"
    torch.manual_seed(0)
    method = {"name": "flow", "modes": {"teacher": 1.0, "forcing": 0.5}}
    config = ring_config(method, learning_rate=1e-2, out=path, optimizer="muon")
    task = flow.make_task(config, RingLatents(config))
    losses = descend(task, 250)["dit"]
    assert sum(losses[-50:]) < 0.6 * sum(losses[:50])
    save_model(task.dit, path)
    return path


def clips(dit, sampler):
    schedule = Schedule(len(LEVELS) - 1, block=1, lag=len(LEVELS) - 1, levels=LEVELS)
    made = rollout(dit.eval(), schedule=schedule, num_frames=FRAMES, size=(1, 1), batch=256, sampler=sampler, seed=3)
    return torch.cat(list(made), 2)


def distilled(way, teacher, steps):
    module, extra, learning_rate = WAYS[way]
    method = {"name": way, "teacher": teacher, "levels": LEVELS, **extra}
    config = ring_config(method, learning_rate=learning_rate, out=teacher.parent)
    torch.manual_seed(0)
    task = module.make_task(config, RingLatents(config))
    return task, descend(task, steps)


def test_consistency_lowers_its_loss_and_beats_as_many_steps_of_the_teacher(teacher):
    task, losses = distilled("consistency", teacher, 300)
    assert sum(losses["student"][-20:]) < 0.5 * sum(losses["student"][:20])
    assert off_ring(clips(task.student, renoise)) < 0.8 * off_ring(clips(load_model(teacher), euler))
    measured = task.evaluate({}, None)  # this distance does not tell them apart: 0.98 to 1.02 over six seeds
    assert measured["student_distance"] < 1.1 * measured["teacher_distance"]


def test_a_student_that_follows_the_teachers_distribution_begins_to_beat_it(teacher):
    task, losses = distilled("dmd", teacher, 120)
    assert sum(losses["critic"][-20:]) < sum(losses["critic"][:20])
    assert off_ring(clips(task.student, renoise)) < 0.95 * off_ring(clips(load_model(teacher), euler))


def test_heads_learn_to_tell_made_frames_from_real_ones(teacher):
    _, losses = distilled("ladd", teacher, 60)
    assert sum(losses["heads"][-15:]) < 0.99 * sum(losses["heads"][:15])


@pytest.mark.slow
@pytest.mark.parametrize(("way", "share"), [("consistency", 0.7), ("dmd", 0.7), ("ladd", 0.9)])
def test_few_steps_beat_as_many_of_the_teacher_by_far(way, share, teacher):
    task, _ = distilled(way, teacher, 500)
    few = clips(task.student, renoise)
    assert off_ring(few) < share * off_ring(clips(load_model(teacher), euler))
    assert places_taken(few) == {0, 1, 2, 3}


def test_a_student_records_how_it_is_sampled(teacher, tmp_path):
    config = ring_config(
        {"name": "consistency", "teacher": teacher, "levels": LEVELS}, learning_rate=1e-3, out=tmp_path
    )
    task = distill_consistency.make_task(config, RingLatents(config))
    task.export({"student": task.student.state_dict()}, tmp_path / "student")
    made = Provenance.of(load_model(tmp_path / "student.safetensors"))
    assert made.levels == LEVELS
    assert made.steps == 2
    assert not any(weight.requires_grad for weight in task.teacher.parameters())


def test_gradients_of_a_rollout_stay_in_their_frame(teacher, tmp_path):
    config = ring_config({"name": "dmd", "teacher": teacher, "levels": (0.0, 1.0)}, learning_rate=1e-3, out=tmp_path)
    task = distill_dmd.make_task(config, RingLatents(config))
    noise = torch.randn(4, 2, FRAMES, 1, 1, requires_grad=True)
    clip = task.rollout(task.student, noise, None)
    assert clip.shape == noise.shape
    clip[:, :, 2].sum().backward()
    reached = noise.grad.abs().amax((0, 1, 3, 4)) > 0
    assert reached.tolist() == [False, False, True]  # earlier frames are history: seen, not learned through
    assert all(weight.grad is not None for weight in task.student.blocks.parameters())


def test_a_teacher_must_be_causal_and_of_the_same_latents(teacher, tmp_path):
    method = {"name": "consistency", "teacher": tmp_path / "other.safetensors", "levels": LEVELS}
    config = ring_config(method, learning_rate=1e-3, out=tmp_path)
    dit = load_model(teacher)
    save_model(dit, method["teacher"], metadata=dit.metadata | {"fingerprint": "another"})
    with pytest.raises(ModelError, match="another"):
        distill_consistency.make_task(config, RingLatents(config))
    free = type(dit)(dit.config.model_copy(update={"causal": False}))
    save_model(free, method["teacher"], metadata=dit.metadata)
    with pytest.raises(InputError, match="causal"):
        distill_consistency.make_task(config, RingLatents(config))
    with pytest.raises(ValueError, match="climb from 0 to 1"):
        ring_config({**method, "levels": (0.0, 0.5)}, learning_rate=1e-3, out=tmp_path)
