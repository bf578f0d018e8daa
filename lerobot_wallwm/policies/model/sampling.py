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

from lerobot_wallwm.policies.model import flow_matching as fm
from lerobot_wallwm.policies.model.imagination import Imagination
from lerobot_wallwm.policies.model.windows import Chunk
from lerobot_wallwm.policies.towers.action_denoising import ActionDenoiser
from lerobot_wallwm.policies.towers.attention import at_hand
from lerobot_wallwm.policies.towers.frame_layouts import mask_of_look, over_video_tokens

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


@dataclass
class Sight:
    """What one look reads.

    Attributes:
        keyframes: ``(B, V, 3, H, W)``.
        state: ``(B, P)``.
        text: Caption tokens ``(B, L, E)``.
        here: ``(B, A)`` observed pose in goal units; a model with a goal head needs it.
        noise: What actions are denoised from, ``(B, H, A)``.
        video_noise: What the future is imagined from, ``(B, V, C, N, h, w)``; None without imagination.
        length: ``(B,)`` frames to plan for; None, or 0 in a row, takes the predicted remaining time.
        view_ids: ``(V,)`` rows of the view table, one for each view; None for the first V.
        chunk: The past of observation-centred windows, which always fill the horizon; None for events.
        frame: ``(B, A, A)`` of the observed pose (`EventWindows.frame`); None where nothing turns.
    """

    keyframes: Tensor
    state: Tensor
    text: Tensor
    here: Tensor | None
    noise: Tensor
    video_noise: Tensor | None = None
    length: Tensor | None = None
    view_ids: Tensor | None = None
    chunk: Chunk | None = None
    frame: Tensor | None = None


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
    frame: Tensor | None = None,
) -> Plan:
    """Samples actions (and, with imagination, video) for one event from one observation.

    Args:
        model: Both towers.
        keyframes, state, here, length, view_ids, chunk, frame: As in `Sight`.
        captions: B strings, or text tokens ``(B, L, E)`` in their place, see `WorldActionModel.decode_latents`.
        imagination: ``none`` reads the keyframe alone; ``anchor`` integrates the video to s*, then lets all
            action steps read one forward there; ``full`` denoises video and actions in step.
        num_steps: Denoising steps N_d.
        generator: Source of the noise, one for all or one for each row; a fixed seed gives the same actions.

    Raises:
        ValueError: Unknown ``imagination``, or ``here`` is missing.
    """
    if imagination not in ("none", "anchor", "full"):
        raise ValueError(f"imagination={imagination!r}: choose none, anchor or full.")
    shape, (batch, views), device = model.shape, keyframes.shape[:2], state.device
    noise = randn_tensor((batch, shape.horizon, shape.action_dim), generator, device, state.dtype)
    video_noise = None
    if imagination != "none":
        grid = [side // model.codec.spatial_stride for side in keyframes.shape[-2:]]
        size = (batch, views, model.codec.channels, shape.num_future_latents, *grid)
        video_noise = randn_tensor(size, generator, device, keyframes.dtype)
    text = captions if isinstance(captions, Tensor) else model.text_encoder(captions)
    sight = Sight(keyframes, state, text, here, noise, video_noise, length, view_ids, chunk, frame)
    return look(model, sight, imagination, num_steps)


@torch.no_grad()
def look(model: WorldActionModel, sight: Sight, imagination: str, num_steps: int) -> Plan:
    """`plan` from the caption's tokens and the noise on.

    On a GPU it never waits for the device, so that it can be compiled as one graph, or captured. There it computes all
    steps of the horizon and masks those beyond the event; on a CPU it leaves them out.
    """
    keyframes, state, text, view_ids = sight.keyframes, sight.state, sight.text, sight.view_ids
    batch, device, horizon, views = len(state), state.device, model.shape.horizon, keyframes.shape[1]
    given = None if sight.chunk is None else sight.chunk.given
    landmarks = model.find_landmarks(keyframes, text, view_ids)
    seen, seen_valid = model.encode_seen(keyframes, sight.chunk)
    clean, key_hidden = torch.zeros(batch, seen.shape[3], device=device), mask_of_look(seen_valid)
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
    if given is None:
        goal = model.read_goal(key_features.landmarks, state, text, sight.here, view_ids, sight.frame)
    pose = None if goal is None else goal.pose
    key_video = model.action.read_video(key_features.layers, view_ids, None if given is None else given.chunk)
    levels = fm.schedule(num_steps, device=device)
    tokens = model.tokens_per_latent
    key_mask = over_video_tokens(key_hidden, tokens, views)
    denoiser = ActionDenoiser(model.action, state, key_video, levels, key_mask, goal, given)
    remaining = denoiser.log_remaining.exp() if given is None else state.new_full((batch,), float(horizon))
    planned = torch.nan_to_num(remaining, nan=1.0).round().clamp(1, horizon).long()
    if sight.length is not None:
        planned = torch.where(sight.length > 0, sight.length.clamp(1, horizon), planned).long()
    valid = torch.arange(horizon, device=device) < planned[:, None]
    actions = sight.noise

    if imagination == "none":
        actions = _integrate(model, denoiser, actions, levels, valid)
        return Plan(actions, planned, remaining, pose, None)
    assert sight.video_noise is not None, "imagination begins from noise"
    z_key = model.encode(keyframes[:, :, None])
    past = seen if model.shape.history_latents else None
    index = None if given is None else given.chunk
    dream = Imagination(
        model,
        z_key,
        text,
        planned,
        num_steps,
        sight.video_noise,
        view_ids,
        past,
        seen_valid,
        index,
        landmarks,
    )
    video_mask = over_video_tokens(dream.hidden, tokens, views)
    if imagination == "anchor":
        denoiser = ActionDenoiser(model.action, state, dream.to_anchor(), levels, video_mask, goal, given)
        actions = _integrate(model, denoiser, actions, levels, valid)
        return Plan(actions, planned, remaining, pose, dream.latents())
    for j in range(num_steps):
        pair = levels[j : j + 2]
        denoiser = ActionDenoiser(model.action, state, dream.step(), pair, video_mask, goal, given)
        actions = _integrate(model, denoiser, actions, pair, valid)
    return Plan(actions, planned, remaining, pose, dream.latents())


def _integrate(
    model: WorldActionModel, denoiser: ActionDenoiser, actions: Tensor, levels: Tensor, valid: Tensor
) -> Tensor:
    """Euler steps from the first level to the last."""
    longest = valid.shape[1]
    if at_hand(valid):
        longest = int(valid.sum(1).max())  # what lies beyond is never executed
    beyond, actions, valid = actions[:, longest:], actions[:, :longest], valid[:, :longest]
    denoiser.begin(valid)
    for step, kept in enumerate((levels[1:] / levels[:-1]).unbind()):
        prediction = denoiser.predict(actions, step)
        if model.shape.parts.action_velocity:
            prediction = actions - levels[step] * prediction
        # The last step, to level 0, lands on the prediction itself.
        actions = torch.lerp(prediction.type_as(actions), actions, kept)
    return torch.cat((actions, beyond), dim=1)
