"""Which autoencoder is trained, whether its data fits it, what of it is trained, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vidlatent.autoencoders import Autoencoder, build, load, save_checkpoint
from vidlatent.autoencoders.families import FAMILIES, without_weights
from vidlatent.autoencoders.published import parse_config
from vidlatent.errors import InputError
from vidlatent.train.autoencoder_config import ModelConfig, TeacherConfig
from vidlatent.train.clips import ClipDataConfig

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each latent channel."""


def make_model(config: ModelConfig) -> Autoencoder:
    """The model that a configuration names, with random weights unless it is loaded."""
    given = [name for name in ("family", "preset", "load") if getattr(config, name)]
    if len(given) != 1:
        raise InputError(f"model: give one of family, preset and load, got {', '.join(given) or 'none'}")
    if config.load:
        if config.config:
            raise InputError("model.config is for a new model, and one is loaded: leave it away")
        return load(config.load)
    if config.preset:
        return build(config.preset, **_tuples(config.config))
    if config.family not in FAMILIES:
        raise InputError(f"model.family={config.family!r}: there are {', '.join(FAMILIES)}")
    family = FAMILIES[config.family]
    made: Any = parse_config(family.config, config.config, "model.config")
    return Autoencoder(config.family, made, family.build(made))


def make_teacher(config: TeacherConfig, student: Autoencoder) -> Autoencoder:
    """The frozen teacher, with a latent grid that is the student's. Raises `InputError` where it is another one."""
    if (config.load is None) == (config.preset is None):
        raise InputError("teacher: give one of load and preset")
    teacher = load(config.load) if config.load else build(str(config.preset), **_tuples(config.config))
    asked, own = teacher.latent_spec, student.latent_spec
    for name in ("channels", "stride", "first_frame"):
        if getattr(asked, name) != getattr(own, name):
            raise InputError(
                f"the teacher's latents have {name} {getattr(asked, name)!r}, the model's {getattr(own, name)!r}: they "
                "must be alike"
            )
    return teacher.eval().requires_grad_(False)


def check_fits(ae: Autoencoder, data: ClipDataConfig) -> None:
    """Raise `InputError` for clips that the model would have to pad: nobody wants to train on that."""
    data.check()
    spec, (rows, columns) = ae.latent_spec, data.rows_columns
    fitting = spec.num_frames(spec.num_latent_frames(data.frames))
    if fitting != data.frames:
        rule = f"1 + {spec.stride[0]}k" if spec.first_frame == "single" else f"{spec.stride[0]}k"
        below = spec.num_frames(max(1, spec.num_latent_frames(data.frames) - 1))
        raise InputError(f"data.frames={data.frames}: this model takes {rule} frames: take {below} or {fitting}")
    for name, length, stride in (("rows", rows, spec.stride[1]), ("columns", columns, spec.stride[2])):
        if length % stride:
            raise InputError(f"data.size: {length} {name} are no multiple of the model's stride of {stride}")
    if data.images and spec.num_frames(1) != 1:
        raise InputError(f"data.images={data.images}: this model has no latent of a single frame")


def select_trained(ae: Autoencoder, beginnings: Sequence[str]) -> None:
    """Let gradients reach the parameters whose names begin so, and no others."""
    names = [name for name, _ in ae.named_parameters()]
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise InputError(f"trained={beginning!r}: no parameter begins so; there are {', '.join(tops)}")
    for name, parameter in ae.named_parameters():
        parameter.requires_grad_(any(name.startswith(beginning) for beginning in beginnings))


def export(ae: Autoencoder, weights: Mapping[str, Tensor], path: Path, statistics: Statistics | None) -> None:
    """Write `path`.safetensors, which `vidlatent.load` takes; the configuration is given the latents' statistics."""
    config = ae.config
    has_statistics = {"mean", "std"} <= {field.name for field in fields(config)}  # type: ignore[arg-type]
    if statistics and has_statistics:
        config = replace(config, mean=statistics[0], std=statistics[1])  # type: ignore[type-var]
    described = without_weights(ae.family, config)
    described.load_state_dict({name: tensor.detach() for name, tensor in weights.items()}, assign=True)
    save_checkpoint(described, path.with_suffix(".safetensors"))


def _tuples(values: Mapping[str, object]) -> dict[str, Any]:
    """YAML's lists as the tuples that configurations hold."""
    return {key: _tuple(value) for key, value in values.items()}


def _tuple(value: object) -> object:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
