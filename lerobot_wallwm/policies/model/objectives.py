# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the towers are trained on: losses of a batch of event windows.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
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
from lerobot_wallwm.policies.model.language_losses import language_losses
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.towers.frame_layouts import FramePacking, mask_or_none
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.video_tower import VideoFeatures
from lerobot_wallwm.policies.training.stages import LOSSES, REASONED

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


# Weights in the sum, by the names and in the order of `stages.LOSSES`. Our choice; the paper gives none.
WEIGHTS = {"action": 1.0, "video": 2.0, "remaining": 0.2, "goal": 1.0}
# Of the language half. In `unified` L_CoT stands beside the actions' loss, and only keeps the latents readable.
WEIGHTS |= {"align": 1.0, "next": 1.0, "time": 0.2, "cot": 0.2, "match": 0.2}


@dataclass
class Losses:
    """Per-sample losses, each ``(B,)``, and which samples carry them (boolean, ``(B,)``); all have actions.

    ``goal_read`` is what the goal head read of each sample, ``(B, I)``; I is 0 where it does not learn. ``language`` holds
    the losses of the language half by name, which all samples carry.
    """

    action: Tensor
    video: Tensor
    has_video: Tensor
    remaining: Tensor
    has_remaining: Tensor
    goal: Tensor
    has_goal: Tensor
    goal_read: Tensor
    language: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def none(cls, like_B: Tensor) -> Losses:
        """Of a stage that runs no towers."""
        zero, no = torch.zeros_like(like_B), torch.zeros_like(like_B, dtype=torch.bool)
        return cls(zero, zero, no, zero, no, zero, no, zero[:, None][:, :0])

    def weighted(self, names: Collection[str], reduction: str = "mean") -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of a stage, times their `WEIGHTS`, as one.

        Args:
            names: The stage's, of `stages.LOSSES`.
            reduction: ``mean`` for a scalar, ``none`` for one loss per sample ``(B,)`` of the same mean.

        Returns:
            The sum, and each part's mean over the samples that carry it, without its weight.
        """
        has = {name: getattr(self, f"has_{name}", torch.ones_like(self.has_goal)) for name in LOSSES}
        found = {**vars(self), **self.language}
        on = {name: (found[name], has[name]) for name in LOSSES if name in names and name in found}
        parts = {name: fm.masked_mean(*loss_and_has) for name, loss_and_has in on.items()}
        if reduction == "none":
            # Each part is spread over the samples that carry it, so that the mean is the reduced loss.
            rows = [
                WEIGHTS[k] * loss * has * (len(has) / has.sum().clamp_min(1)) for k, (loss, has) in on.items()
            ]
            return torch.stack(rows).sum(0), parts
        return torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum(), parts


def future_rows(model: WorldActionModel, batch: int, draw: float = 0.5) -> int:
    """S, how many samples of a batch carry their future.

    Args:
        model: Its stage says which part of all samples do.
        batch: B.
        draw: Uniform in [0, 1). Then each sample of a shuffled batch carries its future with that chance, whatever the
            batch's size: a batch of one does or does not, a batch of eight always has one at a chance of an eighth.
    """
    return min(batch, math.floor(model.shape.stage.future_fraction * batch + draw))


def losses(model: WorldActionModel, windows: EventWindows) -> Losses:
    """Training losses of the stage: those of its row in `stages` that each sample carries, zero for the others.

    The first samples of the batch (the trainer shuffles it) carry the noised future, see `future_rows`; the rest
    sees the keyframe alone, as inference without imagination does. With the future, ``t_A = t_V`` (paper's
    symmetric mapping, p. 10) except for ``anchored_fraction`` of the samples, which hold the video at s* while
    ``t_A`` is free (its asymmetric mapping, p. 10). Both fractions are our choice.

    Packed, both kinds go through the towers together: a small model's step is mostly the calls.
    """
    stage, batch, split = model.shape.stage, len(windows.captions), len(windows.future)
    language: dict[str, Tensor] = {}
    text: Tensor | None = None
    if stage.name in REASONED:
        language, text = language_losses(model, windows)
    if not stage.losses & {"action", "video"}:
        return replace(Losses.none(windows.remaining), language=language)
    if text is None:
        text = model.text_encoder(windows.captions)
    draws = _Draws.of(model, windows)
    together = model.shape.packing and windows.chunk is None
    groups = [slice(0, batch)] if together else [slice(0, split), slice(split, batch)]
    parts = [
        _losses(model, windows.rows(rows), text[rows], draws.rows(rows))
        for rows in groups
        if rows.start < rows.stop
    ]
    names = [name for name in Losses.__dataclass_fields__ if name != "language"]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Losses(**joined, language=language)


@dataclass
class _Draws:
    """What a batch draws whether or not its samples go through the towers together.

    Attributes:
        t_video: ``(B,)`` noise level of the future.
        t_action: ``(B, K)`` that of each draw of the actions.
        noise: ``(B, K, H, A)`` on the actions.
    """

    t_video: Tensor
    t_action: Tensor
    noise: Tensor

    @classmethod
    def of(cls, model: WorldActionModel, windows: EventWindows) -> _Draws:
        """For a batch of which the first samples carry their future."""
        shape, actions = model.shape, windows.actions
        batch, draws, device = len(actions), shape.stage.action_draws, actions.device
        # One step index u for both towers, as at inference: each has its own schedule, and only the video's is shifted.
        u = torch.rand(batch, device=device)
        anchored = torch.rand(batch, device=device) < shape.stage.anchored_fraction
        jitter = (torch.rand(batch, device=device) * 2 - 1) * fm.ANCHOR_JITTER
        level = (fm.anchor_noise_level(shape.video_shift) + jitter).clamp(0.0, 1.0)
        t_video = torch.where(anchored, level, fm.shift_noise_level(u, shape.video_train_shift))
        # Without a future there is nothing to be in step with.
        free = anchored | (torch.arange(batch, device=device) >= len(windows.future))
        t_free = torch.rand(batch, draws, device=device)
        noise = torch.randn(batch, draws, *actions.shape[1:], device=device, dtype=actions.dtype)
        return cls(t_video, torch.where(free[:, None], t_free, u[:, None]), noise)

    def rows(self, index: slice) -> _Draws:
        """A part of the batch."""
        return _Draws(self.t_video[index], self.t_action[index], self.noise[index])


def _losses(model: WorldActionModel, windows: EventWindows, text: Tensor, draws: _Draws) -> Losses:
    """Of samples that lie side by side in the towers: all, or unless packed all with their future or all without."""
    shape, device = model.shape, windows.state.device
    batch, split, given = len(windows.captions), len(windows.future), 1 + shape.history_latents
    seen = torch.arange(batch, device=device) >= split  # these see what inference sees
    latent_valid = model.latent_valid(windows.frame_valid)
    latent_valid = latent_valid[:, :given] if not split else latent_valid.clone()
    latent_valid[split:, given:] = False
    packing = _packing(model, windows, latent_valid)
    first, parts, tubes, target = windows.rows(slice(0, split)), [], None, None
    if split:
        frames = [first.keyframes[:, :, None], first.future]
        if first.chunk is not None:
            frames.insert(0, first.chunk.past)
        z_0 = model.encode(torch.cat(frames, dim=2), packing)
        # The zero of a predicted future: the observation stands still.
        still = model.encode(first.keyframes[:, :, None]) if given > 1 else z_0[:, :, :, :1]
        past, future = z_0[:, :, :, :given], z_0[:, :, :, given:]
        noise = torch.randn_like(future)
        parts.append(torch.cat((past, fm.add_noise(future, noise, draws.t_video[:split])), dim=3))
        target, tubes = _video_target(model, future, still, noise), _tubes(model, first)
        if tubes is not None:
            parts[0] = tubes.hide(parts[0], noise)
    if split < batch:
        parts.append(model.encode_seen(windows.keyframes[split:], windows.chunk)[0])
    z_t = parts[0]
    if len(parts) == 2:
        z_t = parts[0].new_zeros(batch, *parts[0].shape[1:])
        z_t[:split] = parts[0]
        z_t[split:, :, : parts[1].shape[2], :given] = parts[1]
    t_frames = draws.t_video[:, None].expand(-1, z_t.shape[3] - given)
    t_frames = torch.cat((t_frames.new_zeros(batch, given), t_frames), dim=1)
    predict = bool(split) and "video" in shape.stage.losses
    hidden = mask_or_none(latent_valid)
    features, goal = _look(model, windows, text, z_t, t_frames, hidden, packing, predict)

    video_loss = action_loss = windows.remaining.new_zeros(batch)
    has_video = has_remaining = torch.zeros(batch, dtype=torch.bool, device=device)
    remaining_loss = torch.zeros_like(action_loss)
    if features.prediction is not None:
        assert target is not None
        token_valid = _token_valid(model, first)
        weights = None  # all one
        if mask_or_none(first.token_valid) is not None or tubes is not None:
            weights = per_latent_pixel(video_loss_weights(token_valid, tubes), shape.video.patch)
        if packing is None:
            error = _video_error(model, features.prediction, target, weights)
            video_loss = fm.masked_mean_per_sample(error, latent_valid[:, given:])
        else:
            # Each frame as a sample of one view and one latent.
            target = packing.pack_future(target.transpose(2, 3))[:, None, :, None]
            if weights is not None:
                weights = packing.pack_views(weights, packing.future)[:, None]
            error = _video_error(model, features.prediction[:, None, :, None], target, weights)
            video_loss = packing.mean_per_sample(error[:, 0], packing.future)
        has_video = latent_valid[:, given:].any(1)
        has_video[:split] &= token_valid.flatten(1).any(1)
    if "action" in shape.stage.losses:
        action_loss, log_remaining = _action_losses(
            model, windows, features.layers, draws, hidden, goal, packing
        )
        # The remaining time learns only here: a future in sight would tell it how long the event lasts.
        far = windows.remaining.clamp_min(1).log()
        remaining_loss = nn.functional.huber_loss(log_remaining, far, delta=0.5, reduction="none") * seen
        has_remaining = seen if windows.chunk is None else has_remaining  # fixed chunks end by the clock
    goal_loss, has_goal, goal_read = _goal_losses(model, windows, goal)
    return Losses(
        *(action_loss, video_loss, has_video, remaining_loss, has_remaining), goal_loss, has_goal, goal_read
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
    """Tokens that enter the video loss, ``(S, V, h, w)``."""
    if windows.token_valid is not None:
        return windows.token_valid
    size = (len(windows.future), windows.keyframes.shape[1], *model.video.grid)
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
    # A frozen tower keeps a graph only where what enters it learns: a text or an eye in front of it.
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
    pose = windows.here, windows.view_ids, windows.frame
    goal = model.read_goal(features.landmarks, windows.state, text, *pose)
    return features, goal


def _goal_losses(
    model: WorldActionModel, windows: EventWindows, goal: Goal | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the goal, which samples carry it, both ``(B,)``, and what it was read from."""
    if goal is None or model.goal_head is None or "goal" not in model.shape.stage.losses:
        none = windows.remaining.new_zeros(len(windows.captions), 0)
        return none.sum(1), torch.zeros_like(windows.has_goal), none
    return model.goal_head.loss(goal.pose, windows.goal), windows.has_goal, goal.read.detach()


def _action_losses(
    model: WorldActionModel,
    windows: EventWindows,
    layers: list[Tensor],
    noise: _Draws,
    latent_valid: Tensor | None,
    goal: Goal | None,
    packing: FramePacking | None,
) -> tuple[Tensor, Tensor]:
    """K noise levels on one video forward (paper p. 11); returns losses and log-remaining time, ``(B,)``."""
    batch, draws = noise.t_action.shape
    a_0 = windows.actions.repeat_interleave(draws, 0)
    eps, t = noise.noise.flatten(0, 1), noise.t_action.flatten()
    valid = windows.action_valid.repeat_interleave(draws, 0)
    given = None if windows.chunk is None else windows.chunk.given
    prediction, log_remaining = model.action(
        fm.add_noise(a_0, eps, t) * valid[..., None],
        t,
        windows.state.repeat_interleave(draws, 0),
        valid,
        model.action.read_video(layers, windows.view_ids, None if given is None else given.chunk, packing),
        latent_valid,
        model.tokens_per_latent,
        windows.keyframes.shape[1],
        goal and goal.repeat(draws),
        given and given.repeat(draws),
        packing,
    )
    # The paper's default is the velocity; the actions themselves (x) are its option for contact-heavy data (p. 11). The
    # zero of x is "stay", which a short training run need not learn first.
    target = eps - a_0 if model.shape.parts.action_velocity else a_0
    loss = fm.masked_mean_per_sample((prediction - target).square(), valid)
    loss = loss.view(batch, draws).mean(1)
    return loss, log_remaining.view(batch, draws)[:, 0]
