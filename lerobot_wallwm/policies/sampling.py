# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Inference: one event's actions, and its imagined video, from one observation.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from . import flow_matching as fm
from .chunk_window import Chunk, Given
from .frame_layouts import mask_or_none
from .goal_reader import Goal
from .imagination import Imagination

if TYPE_CHECKING:
    from .world_action_model import WorldActionModel


@dataclass
class Plan:
    """What the model would do from one observation.

    Attributes:
        actions: ``(B, H, A)``; entries beyond ``length`` are meaningless.
        length: ``(B,)`` valid actions, 1 to H.
        remaining: ``(B,)`` predicted frames to the event's end (may exceed H).
        goal: ``(B, A)`` predicted pose at the event's end in goal units, or None without a goal reader.
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
    captions: list[str],
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
        captions: B strings.
        here: ``(B, A)`` observed pose in goal units; a model with a goal reader needs it.
        imagination: ``none`` reads the keyframe alone; ``anchor`` integrates the video to s*, then lets all
            action steps read one forward there; ``full`` denoises video and actions in step.
        num_steps: Denoising steps N_d.
        generator: Source of the noise, one for all or one for each row; a fixed seed gives the same actions.
        length: ``(B,)`` frames to plan for; None takes the predicted remaining time.
        view_ids: ``(V,)`` rows of the view table, one for each view; None for the first V.
        chunk: The past of observation-centred windows, which always fill the horizon; None for events.

    Raises:
        ValueError: Unknown ``imagination``, or ``here`` is missing.
    """
    if imagination not in ("none", "anchor", "full"):
        raise ValueError(f"imagination={imagination!r}: choose none, anchor or full.")
    batch, device, horizon = len(captions), state.device, model.shape.horizon
    text = model.text_encoder(captions)
    given = None if chunk is None else chunk.given
    goal = model.read_goal(keyframes, state, text, here, view_ids) if chunk is None else None
    pose = None if goal is None else goal.pose
    seen, seen_valid = model.encode_seen(keyframes, chunk)
    clean = torch.zeros(batch, seen.shape[3], device=device)
    key_features = model.video(seen, clean, text, mask_or_none(seen_valid), False, view_ids=view_ids)
    key_kv = model.action.video_keys_values(
        key_features.layers, view_ids, None if given is None else given.chunk
    )
    if chunk is None:
        nothing = state.new_zeros(batch, 0, model.shape.action_dim)
        _, log_remaining = model.action(
            nothing, state.new_ones(batch), state, nothing[..., 0].bool(), key_kv, goal=goal
        )
        remaining = log_remaining.exp()
    else:
        remaining = state.new_full((batch,), float(horizon))
    planned = (remaining.round() if length is None else length).clamp(1, horizon).long()
    valid = torch.arange(horizon, device=device) < planned[:, None]
    actions = randn_tensor((batch, horizon, model.shape.action_dim), generator, state.device, state.dtype)
    levels = fm.schedule(num_steps, device=device)

    if imagination == "none":
        actions = _integrate_actions(
            model, actions, levels, state, valid, key_kv, seen_valid, keyframes.shape[1], goal, given
        )
        return Plan(actions, planned, remaining, pose, None)
    z_key = model.encode(keyframes[:, :, None])
    past = seen if model.shape.history_latents else None
    index = None if given is None else given.chunk
    dream = Imagination(model, z_key, text, planned, num_steps, generator, view_ids, past, seen_valid, index)
    if imagination == "anchor":
        kv = dream.to_anchor()
        views = keyframes.shape[1]
        actions = _integrate_actions(
            model, actions, levels, state, valid, kv, dream.latent_valid, views, goal, given
        )
        return Plan(actions, planned, remaining, pose, dream.latents())
    for j in range(num_steps):
        kv = dream.step()
        pair = levels[j : j + 2]
        actions = _integrate_actions(
            model, actions, pair, state, valid, kv, dream.latent_valid, keyframes.shape[1], goal, given
        )
    return Plan(actions, planned, remaining, pose, dream.latents())


def _integrate_actions(
    model: WorldActionModel,
    actions: Tensor,
    levels: Tensor,
    state: Tensor,
    valid: Tensor,
    kv: list[tuple[Tensor, Tensor]],
    latent_valid: Tensor | None,
    views: int,
    goal: Goal | None,
    given: Given | None,
) -> Tensor:
    longest = int(valid.sum(1).max())  # what lies beyond is never executed
    beyond, actions, valid = actions[:, longest:], actions[:, :longest], valid[:, :longest]
    latent_valid = mask_or_none(latent_valid)
    for t, s in zip(levels[:-1], levels[1:], strict=True):
        t_rows = t.expand(len(actions))
        prediction, _ = model.action(
            actions * valid[..., None],
            t_rows,
            state,
            valid,
            kv,
            latent_valid,
            model.tokens_per_latent,
            views,
            goal,
            given,
        )
        # With data prediction the last step to s = 0 lands on the prediction itself.
        data = model.shape.action_prediction == "x"
        velocity = fm.velocity_from_data(actions, prediction, t_rows, t_min=1e-6) if data else prediction
        actions = actions + (s - t) * velocity
    return torch.cat((actions, beyond), dim=1)
