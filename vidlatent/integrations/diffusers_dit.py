"""diffusers' video transformers, asked for one noise level a latent frame: FIFO and rollouts over published models.

    from vidlatent.integrations.diffusers_dit import adapt

    dit = adapt(pipe.transformer, scheduler=pipe.scheduler)
    queue = Partitioned(dit, frames=21, lookahead=10)
    for z in rollout(queue, schedule=fifo(21, partitions=4), base=latents, context=Context(text=embeds)): ...

Models that take a time per token get the level of each token's frame. Models that take one time a clip are asked once
for every level in the window, and each frame's answer is taken at its own: as many passes as there are levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from vidlatent.diffusion import AsFlow, Context, Discrete, Path, RectifiedFlow
from vidlatent.diffusion.paths import Prediction
from vidlatent.errors import InputError

Ask = Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]
"""`ask(transformer, x, times, text, text_mask)`, with x `(B, C, t, h, w)` and times `(B, tokens)` or `(B,)`."""

_PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "eps",
    "sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "velocity",
}


@dataclass(frozen=True)
class Kind:
    """How a class of transformer is called, and whether its times are one a token or one a clip."""

    ask: Ask
    times: Literal["token", "clip"]


class Transformer(nn.Module):
    """A diffusers transformer called as `(x, times (B, t), context)`; see `adapt`."""

    null_text: Tensor

    def __init__(self, transformer: nn.Module, kind: Kind, null_text: Tensor) -> None:
        super().__init__()
        self.transformer, self.kind = transformer, kind
        self.register_buffer("null_text", null_text, persistent=False)

    def forward(self, x: Tensor, times: Tensor, context: Context | None = None) -> Tensor:
        """What the model predicts, for latents `(B, C, t, h, w)` at its own `times`."""
        given = next(self.transformer.parameters())
        text, mask = self._text(context, len(x))
        x, text, times = x.to(given.dtype), text.to(given), times.to(given.device, torch.float32)
        if self.kind.times == "clip":
            return self._by_level(x, times, text, mask)
        patch = _patch(self.transformer.config)
        tokens = (x.shape[3] // patch) * (x.shape[4] // patch)
        return self.kind.ask(self.transformer, x, times.repeat_interleave(tokens, 1), text, mask)

    def _by_level(self, x: Tensor, times: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        answer = torch.empty_like(x)
        levels, which = times.unique(dim=1, return_inverse=True)
        for i, level in enumerate(levels.unbind(1)):
            frames = which == i
            answer[:, :, frames] = self.kind.ask(self.transformer, x, level, text, mask)[:, :, frames]
        return answer

    def _text(self, context: Context | None, batch: int) -> tuple[Tensor, Tensor]:
        if context is not None and (context.labels is not None or context.actions is not None):
            raise InputError("context has labels or actions; diffusers' transformers are conditioned on text")
        text = self.null_text.expand(batch, -1, -1) if context is None or context.text is None else context.text
        mask = context.text_mask if context is not None and context.text is not None else None
        return text, torch.ones(text.shape[:2], device=text.device) if mask is None else mask


def adapt(
    transformer: nn.Module,
    *,
    scheduler: Any = None,
    null_text: Tensor | None = None,
    kind: Kind | None = None,
) -> AsFlow:
    """A published transformer as the velocity `(z, t, context)` that `rollout` and `Partitioned` take.

    `scheduler` is the pipeline's: its noise schedule and what the model predicts (default: rectified flow). `null_text`
    `(1, L, C)` are the text features of nothing, for guidance (default: zeros). `kind` says how to call a class that
    is not known here. Raises `InputError` for transformers whose input is more than latents or whose patches span time.
    """
    name = type(transformer).__name__
    kind = kind or _KINDS.get(name)
    if kind is None:
        raise InputError(f"{name} is not among {', '.join(_KINDS)}: give kind= to say how it is called")
    config: Any = transformer.config
    if config.out_channels not in (None, config.in_channels):
        given = f"takes {config.in_channels} channels and gives {config.out_channels}"
        raise InputError(f"{name} {given}; allowed are transformers whose input is latents alone")
    if null_text is None:
        width = next(config[name] for name in _TEXT_WIDTHS if config.get(name))
        null_text = torch.zeros(1, config.get("max_text_seq_length") or 1, width)
    path, prediction = _process(scheduler)
    return AsFlow(Transformer(transformer, kind, null_text), path, prediction, channels=config.in_channels)


_TEXT_WIDTHS = ("text_dim", "caption_channels", "text_embed_dim", "cross_attention_dim")


def _process(scheduler: Any) -> tuple[Path, Prediction]:
    if scheduler is None:
        return RectifiedFlow(last=1000.0), "velocity"
    name = scheduler.config.get("prediction_type", "flow_prediction")
    prediction = _PREDICTIONS.get(name)
    if prediction is None:
        raise InputError(f"a scheduler of prediction_type={name!r}; known are {', '.join(_PREDICTIONS)}")
    if prediction == "velocity":
        return RectifiedFlow(last=float(scheduler.config.num_train_timesteps)), prediction
    return Discrete(tuple(scheduler.alphas_cumprod.double().tolist())), prediction


def _patch(config: Any) -> int:
    """Side of a patch on the latent grid."""
    size = config.patch_size
    frames, side = (size[0], size[-1]) if isinstance(size, (tuple, list)) else (config.get("patch_size_t") or 1, size)
    if frames != 1:
        raise InputError(f"patches of {frames} frames have no time for each frame")
    return side


def _ask_wan(transformer: Any, x: Tensor, times: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:  # noqa: ARG001
    return transformer(hidden_states=x, timestep=times, encoder_hidden_states=text, return_dict=False)[0]


def _ask_ltx(transformer: Any, x: Tensor, times: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
    _, _, t, h, w = x.shape
    answer = transformer(
        hidden_states=rearrange(x, "b c t h w -> b (t h w) c"),
        timestep=times,
        encoder_hidden_states=text,
        encoder_attention_mask=text_mask,
        num_frames=t,
        height=h,
        width=w,
        return_dict=False,
    )[0]
    return rearrange(answer, "b (t h w) c -> b c t h w", t=t, h=h, w=w)


def _ask_cogvideox(transformer: Any, x: Tensor, times: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:  # noqa: ARG001
    if transformer.config.use_rotary_positional_embeddings:
        raise InputError("CogVideoX with rotary positions needs tables from its pipeline: give kind= to pass them")
    answer = transformer(
        hidden_states=x.transpose(1, 2), timestep=times, encoder_hidden_states=text, return_dict=False
    )[0]
    return answer.transpose(1, 2)


_KINDS = {
    "WanTransformer3DModel": Kind(_ask_wan, "token"),
    "LTXVideoTransformer3DModel": Kind(_ask_ltx, "token"),
    "CogVideoXTransformer3DModel": Kind(_ask_cogvideox, "clip"),
}
