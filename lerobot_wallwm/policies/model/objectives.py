# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the towers are trained on: losses of a batch of event windows.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lerobot_wallwm.policies.encoders.wavelet_codec import WaveletCodec, latent_error
from lerobot_wallwm.policies.geometry.tube_masks import (
    Tubes,
    covisible_region,
    draw_tubes,
    per_latent_pixel,
    video_loss_weights,
)
from lerobot_wallwm.policies.model import flow_matching as fm
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.towers.frame_layouts import FramePacking, mask_or_none
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.video_tower import VideoFeatures
from lerobot_wallwm.policies.training.stages import LOSSES

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


# Weights in the sum, by the names and in the order of `stages.LOSSES`. Our choice; the paper gives none.
WEIGHTS = {"action": 1.0, "video": 2.0, "remaining": 0.2, "goal": 1.0}


@dataclass
class Losses:
    """Per-sample losses, each ``(B,)``, and which samples carry them (boolean, ``(B,)``); all have actions."""

    action: Tensor
    video: Tensor
    has_video: Tensor
    remaining: Tensor
    has_remaining: Tensor
    goal: Tensor
    has_goal: Tensor

    def weighted(self, names: Collection[str], reduction: str = "mean") -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of a stage, times their `WEIGHTS`, as one.

        Args:
            names: The stage's, of `stages.LOSSES`.
            reduction: ``mean`` for a scalar, ``none`` for one loss per sample ``(B,)`` of the same mean.

        Returns:
            The sum, and each part's mean over the samples that carry it, without its weight.
        """
        has = {name: getattr(self, f"has_{name}", torch.ones_like(self.has_goal)) for name in LOSSES}
        on = {name: (getattr(self, name), has[name]) for name in LOSSES if name in names}
        parts = {name: fm.masked_mean(*loss_and_has) for name, loss_and_has in on.items()}
        if reduction == "none":
            # Each part is spread over the samples that carry it, so that the mean is the reduced loss.
            rows = [
                WEIGHTS[k] * loss * has * (len(has) / has.sum().clamp_min(1)) for k, (loss, has) in on.items()
            ]
            return torch.stack(rows).sum(0), parts
        return torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum(), parts


def future_rows(model: WorldActionModel, batch: int) -> int:
    """S, how many samples of a batch carry their future."""
    return min(batch, math.ceil(model.shape.stage.future_fraction * batch))


def losses(model: WorldActionModel, windows: EventWindows) -> Losses:
    """Training losses of the stage: those of its row in `stages` that each sample carries, zero for the others.

    The first samples of the batch (the trainer shuffles it) carry the noised future; the rest
    sees the keyframe alone, as inference without imagination does. With the future, ``t_A = t_V`` (paper's
    symmetric mapping, p. 10) except for ``anchored_fraction`` of the samples, which hold the video at s* while
    ``t_A`` is free (its asymmetric mapping, p. 10). Both fractions are our choice.
    """
    batch, split = len(windows.captions), len(windows.future)
    text = model.text_encoder(windows.captions)
    parts = []
    for compute, rows in (
        (_losses_with_future, slice(0, split)),
        (_losses_keyframe_only, slice(split, batch)),
    ):
        if rows.start < rows.stop:
            parts.append(compute(model, windows.rows(rows), text[rows]))
    return Losses(
        *(torch.cat([getattr(part, name) for part in parts]) for name in Losses.__dataclass_fields__)
    )


def _losses_with_future(model: WorldActionModel, windows: EventWindows, text: Tensor) -> Losses:
    shape, device = model.shape, windows.state.device
    batch = len(windows.captions)
    frames = [windows.keyframes[:, :, None], windows.future]
    if windows.chunk is not None:
        frames.insert(0, windows.chunk.past)
    latent_valid = model.latent_valid(windows.frame_valid)
    packing = _packing(model, windows, latent_valid)
    z_0, given = model.encode(torch.cat(frames, dim=2), packing), 1 + shape.history_latents
    # The zero of a predicted future: the observation stands still.
    still = model.encode(windows.keyframes[:, :, None]) if given > 1 else z_0[:, :, :, :1]
    # One step index u for both towers, as at inference: each has its own schedule, and only the video's is shifted.
    u = torch.rand(batch, device=device)
    t_video = fm.shift_noise_level(u, shape.video_train_shift)
    anchored = torch.rand(batch, device=device) < shape.stage.anchored_fraction
    level = fm.anchor_noise_level(shape.video_shift)
    jitter = (torch.rand(batch, device=device) * 2 - 1) * fm.ANCHOR_JITTER
    t_video = torch.where(anchored, (level + jitter).clamp(0.0, 1.0), t_video)
    t_free = torch.rand(batch, shape.stage.action_draws, device=device)
    t_action = torch.where(anchored[:, None], t_free, u[:, None])

    t_frames = t_video[:, None].expand(-1, z_0.shape[3] - given)
    t_frames = torch.cat((t_video.new_zeros(batch, given), t_frames), dim=1)
    noise = torch.randn_like(z_0)
    z_t = fm.add_noise(z_0, noise, t_frames[:, None, None])  # at level 0 it stays what it is
    noise = noise[:, :, :, given:]
    tubes = _tubes(model, windows)
    if tubes is not None:
        z_t = tubes.hide(z_t, noise)
    predict = "video" in shape.stage.losses
    hidden = mask_or_none(latent_valid)
    features, goal = _look(model, windows, text, z_t, t_frames, hidden, packing, predict)
    token_valid = _token_valid(model, windows)
    video_loss = action_loss = z_0.new_zeros(batch)
    false = torch.zeros(batch, dtype=torch.bool, device=device)
    if features.prediction is not None:
        weights = None  # all one
        if mask_or_none(windows.token_valid) is not None or tubes is not None:
            weights = per_latent_pixel(video_loss_weights(token_valid, tubes), shape.video.patch)
        prediction, target = features.prediction, _video_target(model, z_0[:, :, :, given:], still, noise)
        if packing is None:
            error = _video_error(model, prediction, target, weights)
            video_loss = fm.masked_mean_per_sample(error, latent_valid[:, given:])
        else:
            # Each frame as a sample of one view and one latent.
            target = packing.pack_future(target.transpose(2, 3))[:, None, :, None]
            if weights is not None:
                weights = packing.pack_views(weights)[packing.future, None]
            error = _video_error(model, prediction[:, None, :, None], target, weights)
            video_loss = packing.mean_per_sample(error[:, 0], packing.future)
    if "action" in shape.stage.losses:
        action_loss, _ = _action_losses(model, windows, features.layers, t_action, hidden, goal, packing)
    return Losses(
        action_loss,
        video_loss,
        latent_valid[:, given:].any(1) & token_valid.flatten(1).any(1) if predict else false,
        z_0.new_zeros(batch),
        false,
        *_goal_losses(windows, goal),
    )


def _packing(model: WorldActionModel, windows: EventWindows, latent_valid: Tensor) -> FramePacking | None:
    """Which latent frames to compute; None for all. Chunks fill their window."""
    if not model.shape.packing or windows.chunk is not None:
        return None
    if bool(latent_valid.all()) and bool(windows.action_valid.all()):
        return None  # nothing to leave out: the padded layout does the same without gathering
    views = windows.keyframes.shape[1]
    return FramePacking(latent_valid, views, model.tokens_per_latent, windows.action_valid.sum(1))


def _token_valid(model: WorldActionModel, windows: EventWindows) -> Tensor:
    """Tokens that enter the video loss, ``(B, V, h, w)``."""
    if windows.token_valid is not None:
        return windows.token_valid
    size = (len(windows.captions), windows.keyframes.shape[1], *model.video.grid)
    return torch.ones(size, dtype=torch.bool, device=windows.state.device)


def _tubes(model: WorldActionModel, windows: EventWindows) -> Tubes | None:
    """Windows to hide in this batch; None outside of training or where there are none."""
    tube = model.shape.tube
    if tube is None or not model.training:
        return None
    batch, views, grid = len(windows.captions), windows.keyframes.shape[1], model.video.grid
    if windows.sight is None:
        region = torch.ones((batch, views, *grid), dtype=torch.bool, device=windows.state.device)
    else:
        region = covisible_region(windows.sight, views, grid)
    return draw_tubes(tube, region)


def _video_target(model: WorldActionModel, z_0: Tensor, still: Tensor, noise: Tensor) -> Tensor:
    """What the video head learns, ``(B, V, C, N, h, w)``: the velocity, or the data beside the still keyframe.

    Overwrites the future latents ``z_0``, one of the largest tensors of a step.
    """
    if model.shape.video_prediction == "velocity":
        return torch.sub(noise, z_0, out=z_0)
    assert isinstance(model.codec, WaveletCodec)
    moving = model.codec.still_channels  # a still frame's other channels are zero
    z_0[:, :, :moving] -= still[:, :, :moving]
    return z_0


def _video_error(
    model: WorldActionModel, prediction: Tensor, target: Tensor, weight_BVHW: Tensor | None
) -> Tensor:
    """Mean squared error of each future latent, ``(B, N)``. The paper leaves its weight w_V(t) open."""
    if model.shape.video_prediction == "velocity":
        # w_V = 1 in latent units, in which Wan's latents have about unit variance: as Wan was trained (our choice).
        return latent_error(prediction, target, weight_BVHW)
    # w_V(t) = t^2 turns the velocity error of a data prediction into the data error, finite at every t. The codec
    # turns it into the mean squared error of pixels.
    assert isinstance(model.codec, WaveletCodec)
    return model.codec.pixel_error(prediction, target, weight_BVHW)


def _video_gradients(model: WorldActionModel) -> AbstractContextManager[None]:
    """No graph of the video tower where the stage freezes it and nothing that learns goes through it."""
    through = "video" in model.shape.stage.trains or model.landmarks is not None
    return nullcontext() if through else torch.no_grad()


def _look(
    model: WorldActionModel,
    windows: EventWindows,
    text: Tensor,
    z_t: Tensor,
    t_frames: Tensor,
    hidden: Tensor | None,
    packing: FramePacking | None,
    predict: bool,
) -> tuple[VideoFeatures, Goal | None]:
    """What the video tower makes of latents, and the goal where the stage learns from one; chunks end by the clock."""
    landmarks = model.find_landmarks(windows.keyframes, text, windows.view_ids)
    with _video_gradients(model):
        features = model.video(
            z_t,
            t_frames,
            text,
            hidden,
            predict,
            sight_BTSS=None if windows.sight is None else windows.sight[:, : z_t.shape[3]],
            view_ids=windows.view_ids,
            packing=packing,
            given=1 + model.shape.history_latents,
            landmarks_BVKD=landmarks,
        )
    if "action" not in model.shape.stage.losses or windows.chunk is not None:
        return features, None
    goal = model.read_goal(features.landmarks, windows.state, text, windows.here, windows.view_ids)
    return features, goal


def _losses_keyframe_only(model: WorldActionModel, windows: EventWindows, text: Tensor) -> Losses:
    device, batch = windows.state.device, len(windows.captions)
    z_seen, seen_valid = model.encode_seen(windows.keyframes, windows.chunk)
    hidden = mask_or_none(seen_valid)
    packing = _packing(model, windows, torch.ones_like(windows.frame_valid[:, :1]))
    still = torch.zeros(batch, z_seen.shape[3], device=device)
    features, goal = _look(model, windows, text, z_seen, still, hidden, packing, predict=False)
    t_action = torch.rand(batch, model.shape.stage.action_draws, device=device)
    action_loss, log_remaining = _action_losses(
        model, windows, features.layers, t_action, hidden, goal, packing
    )
    # The remaining time learns only here: a future in sight would tell it how long the event lasts.
    target = windows.remaining.clamp_min(1).log()
    remaining_loss = nn.functional.huber_loss(log_remaining, target, delta=0.5, reduction="none")
    false = torch.zeros(batch, dtype=torch.bool, device=device)
    return Losses(
        action_loss,
        torch.zeros_like(action_loss),
        false,
        remaining_loss,
        ~false if windows.chunk is None else false,  # fixed chunks end by the clock
        *_goal_losses(windows, goal),
    )


def _goal_losses(windows: EventWindows, goal: Goal | None) -> tuple[Tensor, Tensor]:
    """Loss of the goal and which samples carry it, both ``(B,)``."""
    if goal is None:
        return windows.remaining.new_zeros(len(windows.captions)), torch.zeros_like(windows.has_goal)
    error = nn.functional.smooth_l1_loss(goal.pose, windows.goal, beta=0.3, reduction="none")
    return error.mean(1), windows.has_goal


def _action_losses(
    model: WorldActionModel,
    windows: EventWindows,
    layers: list[Tensor],
    t_BK: Tensor,
    latent_valid: Tensor | None,
    goal: Goal | None,
    packing: FramePacking | None,
) -> tuple[Tensor, Tensor]:
    """K noise levels on one video forward (paper p. 11); returns losses and log-remaining time, ``(B,)``."""
    batch, draws = t_BK.shape
    a_0 = windows.actions.repeat_interleave(draws, 0)
    eps = torch.randn_like(a_0)
    t = t_BK.flatten()
    valid = windows.action_valid.repeat_interleave(draws, 0)
    given = None if windows.chunk is None else windows.chunk.given
    prediction, log_remaining = model.action(
        fm.add_noise(a_0, eps, t) * valid[..., None],
        t,
        windows.state.repeat_interleave(draws, 0),
        valid,
        model.action.video_keys_values(
            layers, windows.view_ids, None if given is None else given.chunk, packing
        ),
        latent_valid,
        model.tokens_per_latent,
        windows.keyframes.shape[1],
        goal and goal.repeat(draws),
        given and given.repeat(draws),
        packing,
    )
    # The actions themselves (x), the paper's option for contact-heavy data (p. 11); its default is the velocity. The zero
    # of x is "stay", which a short training run need not learn first.
    loss = fm.masked_mean_per_sample((prediction - a_0).square(), valid)
    loss = loss.view(batch, draws).mean(1)
    return loss, log_remaining.view(batch, draws)[:, 0]
