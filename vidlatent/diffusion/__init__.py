"""Video diffusion on latents: a transformer with one noise level per frame, samplers, and clips without end.

z_t = (1 - t) z_0 + t eps,   v = eps - z_0,   t = 1 is noise
"""

from vidlatent.diffusion.cache import KVCache
from vidlatent.diffusion.checkpoint import load_model, save_model
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT, VideoDiTConfig
from vidlatent.diffusion.guidance import Guidance, autoguidance, classifier, classifier_free, history
from vidlatent.diffusion.masks import Causal, Full, Local, TeacherForcing
from vidlatent.diffusion.memory import Partitioned
from vidlatent.diffusion.noise import FreeNoise, FreshNoise, interpolate, noise_like, per_frame
from vidlatent.diffusion.objective import LearnedUncertainty, flow_loss, min_snr
from vidlatent.diffusion.paths import (
    EDM,
    AsFlow,
    Cosine,
    Discrete,
    Path,
    RectifiedFlow,
    VarianceExploding,
    VariancePreserving,
    error_weight,
    path_density,
    velocity_of,
)
from vidlatent.diffusion.rollout import Rollout, rollout
from vidlatent.diffusion.rope import Rope, riflex
from vidlatent.diffusion.samplers import Past, Sampler, dpmpp_2m, euler, heun, unipc
from vidlatent.diffusion.schedule import Schedule, autoregressive, fifo, full_sequence, pyramid, rolling
from vidlatent.diffusion.stochastic import ancestral, corrected, euler_maruyama, langevin, renoise
from vidlatent.diffusion.times import auto_shift, logit_normal, mixture, sample_times, shift, time_grid, uniform

__all__ = [
    "EDM",
    "AsFlow",
    "Causal",
    "Context",
    "Cosine",
    "Discrete",
    "FreeNoise",
    "FreshNoise",
    "Full",
    "Guidance",
    "KVCache",
    "LearnedUncertainty",
    "Local",
    "Partitioned",
    "Past",
    "Path",
    "RectifiedFlow",
    "Rollout",
    "Rope",
    "Sampler",
    "Schedule",
    "TeacherForcing",
    "VarianceExploding",
    "VariancePreserving",
    "VideoDiT",
    "VideoDiTConfig",
    "ancestral",
    "auto_shift",
    "autoguidance",
    "autoregressive",
    "classifier",
    "classifier_free",
    "corrected",
    "dpmpp_2m",
    "error_weight",
    "euler",
    "euler_maruyama",
    "fifo",
    "flow_loss",
    "full_sequence",
    "heun",
    "history",
    "interpolate",
    "langevin",
    "load_model",
    "logit_normal",
    "min_snr",
    "mixture",
    "noise_like",
    "path_density",
    "per_frame",
    "pyramid",
    "renoise",
    "riflex",
    "rolling",
    "rollout",
    "sample_times",
    "save_model",
    "shift",
    "time_grid",
    "uniform",
    "unipc",
    "velocity_of",
]
