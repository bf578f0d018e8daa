# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Inference: one event's actions, and its imagined video, from one observation.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from lerobot_wallwm.policies.model import flow_matching as fm
from lerobot_wallwm.policies.model.imagination import Imagination
from lerobot_wallwm.policies.model.windows import Chunk
from lerobot_wallwm.policies.towers.action_denoising import ActionDenoiser
from lerobot_wallwm.policies.towers.frame_layouts import mask_or_none, over_video_tokens

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


@dataclass
class Plan:
    """What the model would do from one observation.

    Attributes:
        actions: ``(B, H, A)``; entries beyond ``length`` are meaningless.
        length: ``(B,)`` valid actions, 1 to H.
        remaining: ``(B,)`` predicted frames to the event's end (may exceed H).
        goal: ``(B, A)`` predicted pose at the event's end in goal units, or None without a goal head.
        latents: Imagined clean latents ``(B, V, C, T, h, w)``, or None without imagination.
    """

    actions: Tensor
    length: Tensor
    remaining: Tensor
    goal: Tensor | None
    latents: Tensor | None


@torch.no_grad()
def plan(
    model: WorldActionModel,
    keyframes: Tensor,
    state: Tensor,
    captions: list[str] | Tensor,
    here: Tensor | None = None,
    imagination: str = "none",
    num_steps: int = 10,
    generator: torch.Generator | list[torch.Generator] | None = None,
    length: Tensor | None = None,
    view_ids: Tensor | None = None,
    chunk: Chunk | None = None,
) -> Plan:
    """Samples actions (and, with imagination, video) for one event from one observation.

    Args:
        keyframes: ``(B, V, 3, H, W)``.
        state: ``(B, P)``.
        captions: B strings, or text tokens ``(B, L, E)`` in their place, see `WorldActionModel.decode_latents`.
        here: ``(B, A)`` observed pose in goal units; a model with a goal head needs it.
        imagination: ``none`` reads the keyframe alone; ``anchor`` integrates the video to s*, then lets all
            action steps read one forward there; ``full`` denoises video and actions in step.
        num_steps: Denoising steps N_d.
        generator: Source of the noise, one for all or one for each row; a fixed seed gives the same actions.
        length: ``(B,)`` frames to plan for; None, or 0 in a row, takes the predicted remaining time.
        view_ids: ``(V,)`` rows of the view table, one for each view; None for the first V.
        chunk: The past of observation-centred windows, which always fill the horizon; None for events.

    Raises:
        ValueError: Unknown ``imagination``, or ``here`` is missing.
    """
    if imagination not in ("none", "anchor", "full"):
        raise ValueError(f"imagination={imagination!r}: choose none, anchor or full.")
    batch, device, horizon, views = len(state), state.device, model.shape.horizon, keyframes.shape[1]
    text = captions if isinstance(captions, Tensor) else model.text_encoder(captions)
    given = None if chunk is None else chunk.given
    landmarks = model.find_landmarks(keyframes, text, view_ids)
    seen, seen_valid = model.encode_seen(keyframes, chunk)
    clean, key_hidden = torch.zeros(batch, seen.shape[3], device=device), mask_or_none(seen_valid)
    key_features = model.video(
        seen,
        clean,
        text,
        key_hidden,
        predict=False,
        view_ids=view_ids,
        given=seen.shape[3],
        landmarks_BVKD=landmarks,
    )
    goal = None
    if chunk is None:
        goal = model.read_goal(key_features.landmarks, state, text, here, view_ids)
    pose = None if goal is None else goal.pose
    key_video = model.action.read_video(key_features.layers, view_ids, None if given is None else given.chunk)
    levels = fm.schedule(num_steps, device=device)
    tokens = model.tokens_per_latent
    key_mask = over_video_tokens(key_hidden, tokens, views)
    look = ActionDenoiser(model.action, state, key_video, levels, key_mask, goal, given)
    remaining = look.log_remaining.exp() if chunk is None else state.new_full((batch,), float(horizon))
    planned = torch.nan_to_num(remaining, nan=1.0).round().clamp(1, horizon).long()
    if length is not None:
        planned = torch.where(length > 0, length.clamp(1, horizon), planned).long()
    valid = torch.arange(horizon, device=device) < planned[:, None]
    actions = randn_tensor((batch, horizon, model.shape.action_dim), generator, state.device, state.dtype)

    if imagination == "none":
        actions = _integrate(look, actions, levels, valid)
        return Plan(actions, planned, remaining, pose, None)
    z_key = model.encode(keyframes[:, :, None])
    past = seen if model.shape.history_latents else None
    index = None if given is None else given.chunk
    dream = Imagination(
        model, z_key, text, planned, num_steps, generator, view_ids, past, seen_valid, index, landmarks
    )
    video_mask = over_video_tokens(dream.hidden, tokens, views)
    if imagination == "anchor":
        look = ActionDenoiser(model.action, state, dream.to_anchor(), levels, video_mask, goal, given)
        actions = _integrate(look, actions, levels, valid)
        return Plan(actions, planned, remaining, pose, dream.latents())
    for j in range(num_steps):
        pair = levels[j : j + 2]
        look = ActionDenoiser(model.action, state, dream.step(), pair, video_mask, goal, given)
        actions = _integrate(look, actions, pair, valid)
    return Plan(actions, planned, remaining, pose, dream.latents())


def _integrate(look: ActionDenoiser, actions: Tensor, levels: Tensor, valid: Tensor) -> Tensor:
    """Euler steps from the first level to the last."""
    longest = int(valid.sum(1).max())  # what lies beyond is never executed
    beyond, actions, valid = actions[:, longest:], actions[:, :longest], valid[:, :longest]
    look.begin(valid)
    for step, (t, s) in enumerate(pairwise(levels.tolist())):
        prediction = look.predict(actions, step)
        # The last step, to s = 0, lands on the prediction itself.
        actions = torch.lerp(prediction.type_as(actions), actions, s / t)
    return torch.cat((actions, beyond), dim=1)
