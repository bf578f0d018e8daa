# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The two towers together: losses for training, sampling for inference.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from . import flow_matching as fm
from .action_tower import ActionTower
from .codecs import FRAMES_PER_LATENT, WaveletCodec
from .goal_reader import Goal, GoalReader
from .imagination import Imagination
from .model_shape import ModelShape
from .text_encoders import HashedTextEncoder
from .video_tower import MultiViewVideoTower


@dataclass
class Event:
    """A batch of event-centred windows.

    Attributes:
        keyframes: ``(B, V, 3, H, W)``.
        future: ``(S, V, F - 1, 3, H, W)``, the future frames of the first S samples (`future_rows`); decoded frames of
            the others are never touched, which would cost more than the network.
        frame_valid: ``(B, F)``, False beyond the event's end.
        state: ``(B, P)`` at the keyframe.
        actions: ``(B, H, A)``.
        action_valid: ``(B, H)``, False beyond the event's end.
        remaining: ``(B,)`` frames to the event's end, at least 1.
        here: ``(B, A)`` observed pose in goal units.
        goal: ``(B, A)`` pose at the event's end in goal units.
        has_goal: ``(B,)``, False where the event's end is unknown.
        captions: B strings.
        sight: ``(B, T, V N, V N)`` sight-cone masks of the latent frames, or None for all to see all.
    """

    keyframes: Tensor
    future: Tensor
    frame_valid: Tensor
    state: Tensor
    actions: Tensor
    action_valid: Tensor
    remaining: Tensor
    here: Tensor
    goal: Tensor
    has_goal: Tensor
    captions: list[str]
    sight: Tensor | None = None

    def rows(self, index: slice) -> Event:
        """A part of the batch."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        part: dict[str, Any] = {name: None if v is None else v[index] for name, v in values.items()}
        return Event(**part)


@dataclass
class Losses:
    """Per-sample losses, each ``(B,)``, and which samples carry them (boolean, ``(B,)``)."""

    action: Tensor
    video: Tensor
    has_video: Tensor
    remaining: Tensor
    has_remaining: Tensor
    goal: Tensor
    has_goal: Tensor


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


class WorldActionModel(nn.Module):
    """p(future video, actions | keyframes, state, caption) over the length of one event (paper p. 6)."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.shape = shape
        self.codec = WaveletCodec(shape.codec_levels)
        self.codec.check_size(*shape.image_size, shape.video.patch)
        stride = self.codec.spatial_stride * shape.video.patch
        grid = (shape.image_size[0] // stride, shape.image_size[1] // stride)
        self.tokens_per_latent = grid[0] * grid[1]
        self.text_encoder = HashedTextEncoder(shape.video.text_dim, shape.max_text_tokens)
        self.video = MultiViewVideoTower(shape.video, shape.max_views, grid, open_gates=True)
        nn.init.zeros_(self.video.proj_out.weight)  # the untrained model imagines that nothing moves
        nn.init.zeros_(self.video.proj_out.bias)
        self.goal_reader = None
        if shape.keypoints:
            self.goal_reader = GoalReader(
                shape.video.text_dim,
                shape.state_dim,
                shape.action_dim,
                shape.action_width,
                shape.max_views,
                shape.keypoints,
            )
        self.action = ActionTower(
            shape.action_width,
            shape.video.depth,
            shape.action_heads,
            shape.action_ffn_width,
            shape.video.width,
            shape.action_dim,
            shape.state_dim,
            shape.horizon,
            shape.actions_per_latent,
            shape.max_views,
            self.tokens_per_latent,
        )

    # ------------------------------------------------------------------ training

    def future_rows(self, batch: int) -> int:
        """S, how many samples of a batch carry their future."""
        return min(batch, math.ceil(self.shape.future_fraction * batch))

    def losses(self, event: Event) -> Losses:
        """Training losses of the `joint` stage: both towers learn at once.

        The first samples of the batch (the trainer shuffles it) carry the noised future; the rest
        sees the keyframe alone, as inference without imagination does. With the future, ``t_A = t_V`` (paper's
        symmetric mapping, p. 10) except for ``anchored_fraction`` of the samples, which hold the video at s* while
        ``t_A`` is free (its asymmetric mapping, p. 10). Both fractions are our choice.
        """
        batch, split = len(event.captions), len(event.future)
        text = self.text_encoder(event.captions)
        goal = self._read_goal(event.keyframes, event.state, text, event.here)
        parts = []
        for compute, rows in (
            (self._losses_with_future, slice(0, split)),
            (self._losses_keyframe_only, slice(split, batch)),
        ):
            if rows.start < rows.stop:
                parts.append(compute(event.rows(rows), text[rows], goal and goal.rows(rows)))
        return Losses(
            *(torch.cat([getattr(part, name) for part in parts]) for name in Losses.__dataclass_fields__)
        )

    def _losses_with_future(self, event: Event, text: Tensor, goal: Goal | None) -> Losses:
        shape, device = self.shape, event.state.device
        batch = len(event.captions)
        z_0 = self._encode(torch.cat((event.keyframes[:, :, None], event.future), dim=2))
        latent_valid = self.latent_valid(event.frame_valid)
        # One step index u for both towers, as at inference: each has its own schedule, and only the video's is shifted.
        u = torch.rand(batch, device=device)
        t_video = fm.shift_noise_level(u, shape.video_shift)
        anchored = torch.rand(batch, device=device) < shape.anchored_fraction
        level = fm.anchor_noise_level(shape.anchor_step, shape.anchor_steps, shape.video_shift)
        jitter = (torch.rand(batch, device=device) * 2 - 1) * shape.anchor_jitter
        t_video = torch.where(anchored, (level + jitter).clamp(0.0, 1.0), t_video)
        t_free = torch.rand(batch, shape.action_draws, device=device)
        t_action = torch.where(anchored[:, None], t_free, u[:, None])

        noise = torch.randn_like(z_0[:, :, :, 1:])
        z_t = torch.cat((z_0[:, :, :, :1], fm.add_noise(z_0[:, :, :, 1:], noise, t_video)), dim=3)
        t_frames = torch.cat(
            (t_video.new_zeros(batch, 1), t_video[:, None].expand(-1, z_0.shape[3] - 1)), dim=1
        )
        features = self.video(z_t, t_frames, text, latent_valid, sight_BTSS=event.sight)
        assert features.prediction is not None
        # w_V(t) = t^2 turns the velocity error of a data prediction into the data error, finite at every t. The
        # paper leaves w_V open. The codec turns it into the mean squared error of pixels.
        residual = z_0[:, :, :, 1:] - z_0[:, :, :, :1]
        error = self.codec.pixel_error(features.prediction[:, :, :, 1:] - residual)
        video_loss = fm.masked_mean_per_sample(error, latent_valid[:, 1:])
        action_loss, _ = self._action_losses(event, features.layers, t_action, latent_valid, goal)
        false = torch.zeros(batch, dtype=torch.bool, device=device)
        return Losses(
            action_loss,
            video_loss,
            latent_valid[:, 1:].any(1),
            torch.zeros_like(action_loss),
            false,
            *self._goal_losses(event, goal),
        )

    def _losses_keyframe_only(self, event: Event, text: Tensor, goal: Goal | None) -> Losses:
        device, batch = event.state.device, len(event.captions)
        z_key = self._encode_still(event.keyframes)
        sight = None if event.sight is None else event.sight[:, :1]
        still = torch.zeros(batch, 1, device=device)
        features = self.video(z_key, still, text, predict=False, sight_BTSS=sight)
        t_action = torch.rand(batch, self.shape.action_draws, device=device)
        action_loss, log_remaining = self._action_losses(event, features.layers, t_action, None, goal)
        # The remaining time learns only here: a future in sight would tell it how long the event lasts.
        target = event.remaining.clamp_min(1).log()
        remaining_loss = nn.functional.huber_loss(log_remaining, target, delta=0.5, reduction="none")
        false = torch.zeros(batch, dtype=torch.bool, device=device)
        return Losses(
            action_loss,
            torch.zeros_like(action_loss),
            false,
            remaining_loss,
            ~false,
            *self._goal_losses(event, goal),
        )

    def _goal_losses(self, event: Event, goal: Goal | None) -> tuple[Tensor, Tensor]:
        """Loss of the goal reader and which samples carry it, both ``(B,)``."""
        if goal is None:
            return event.remaining.new_zeros(len(event.captions)), torch.zeros_like(event.has_goal)
        error = nn.functional.smooth_l1_loss(goal.pose, event.goal, beta=0.3, reduction="none")
        return error.mean(1), event.has_goal

    def _action_losses(
        self,
        event: Event,
        layers: list[Tensor],
        t_BK: Tensor,
        latent_valid: Tensor | None,
        goal: Goal | None,
    ) -> tuple[Tensor, Tensor]:
        """K noise levels on one video forward (paper p. 11); returns losses and log-remaining time, ``(B,)``."""
        batch, draws = t_BK.shape
        a_0 = event.actions.repeat_interleave(draws, 0)
        eps = torch.randn_like(a_0)
        t = t_BK.flatten()
        valid = event.action_valid.repeat_interleave(draws, 0)
        prediction, log_remaining = self.action(
            fm.add_noise(a_0, eps, t) * valid[..., None],
            t,
            event.state.repeat_interleave(draws, 0),
            valid,
            self.action.video_keys_values(layers),
            latent_valid,
            self.tokens_per_latent,
            event.keyframes.shape[1],
            goal and goal.repeat(draws),
        )
        target = a_0 if self.shape.action_prediction == "x" else fm.velocity(a_0, eps)
        error = (prediction - target).square()
        loss = fm.masked_mean_per_sample(error, valid).view(batch, draws).mean(1)
        return loss, log_remaining.view(batch, draws)[:, 0]

    # ------------------------------------------------------------------ inference

    @torch.no_grad()
    def plan(
        self,
        keyframes: Tensor,
        state: Tensor,
        captions: list[str],
        here: Tensor | None = None,
        imagination: str = "none",
        num_steps: int = 10,
        generator: torch.Generator | list[torch.Generator] | None = None,
        length: Tensor | None = None,
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

        Raises:
            ValueError: Unknown ``imagination``, or ``here`` is missing.
        """
        if imagination not in ("none", "anchor", "full"):
            raise ValueError(f"imagination={imagination!r}: choose none, anchor or full.")
        batch, device, horizon = len(captions), state.device, self.shape.horizon
        text = self.text_encoder(captions)
        goal = self._read_goal(keyframes, state, text, here)
        pose = None if goal is None else goal.pose
        still = self._encode_still(keyframes)
        key_features = self.video(still, torch.zeros(batch, 1, device=device), text, predict=False)
        key_kv = self.action.video_keys_values(key_features.layers)
        nothing = state.new_zeros(batch, 0, self.shape.action_dim)
        _, log_remaining = self.action(
            nothing, state.new_ones(batch), state, nothing[..., 0].bool(), key_kv, goal=goal
        )
        remaining = log_remaining.exp()
        planned = (remaining.round() if length is None else length).clamp(1, horizon).long()
        valid = torch.arange(horizon, device=device) < planned[:, None]
        actions = randn_tensor((batch, horizon, self.shape.action_dim), generator, state.device, state.dtype)
        levels = fm.schedule(num_steps, device=device)

        if imagination == "none":
            actions = self._integrate_actions(
                actions, levels, state, valid, key_kv, None, keyframes.shape[1], goal
            )
            return Plan(actions, planned, remaining, pose, None)
        dream = Imagination(self, self._encode(keyframes[:, :, None]), text, planned, num_steps, generator)
        if imagination == "anchor":
            kv = dream.to_anchor()
            views = keyframes.shape[1]
            actions = self._integrate_actions(
                actions, levels, state, valid, kv, dream.latent_valid, views, goal
            )
            return Plan(actions, planned, remaining, pose, dream.latents())
        for j in range(num_steps):
            kv = dream.step()
            pair = levels[j : j + 2]
            actions = self._integrate_actions(
                actions, pair, state, valid, kv, dream.latent_valid, keyframes.shape[1], goal
            )
        return Plan(actions, planned, remaining, pose, dream.latents())

    def _integrate_actions(
        self,
        actions: Tensor,
        levels: Tensor,
        state: Tensor,
        valid: Tensor,
        kv: list[tuple[Tensor, Tensor]],
        latent_valid: Tensor | None,
        views: int,
        goal: Goal | None,
    ) -> Tensor:
        for t, s in zip(levels[:-1], levels[1:], strict=True):
            t_rows = t.expand(len(actions))
            prediction, _ = self.action(
                actions * valid[..., None],
                t_rows,
                state,
                valid,
                kv,
                latent_valid,
                self.tokens_per_latent,
                views,
                goal,
            )
            # With data prediction the last step to s = 0 lands on the prediction itself.
            data = self.shape.action_prediction == "x"
            velocity = fm.velocity_from_data(actions, prediction, t_rows, t_min=1e-6) if data else prediction
            actions = actions + (s - t) * velocity
        return actions

    # ------------------------------------------------------------------ shared

    def _read_goal(self, keyframes: Tensor, state: Tensor, text: Tensor, here: Tensor | None) -> Goal | None:
        if self.goal_reader is None:
            return None
        if here is None:
            raise ValueError("a model with a goal reader needs `here`, the observed pose in goal units.")
        return self.goal_reader(keyframes, state, text, here)

    def latent_valid(self, frame_valid: Tensor) -> Tensor:
        """Latents ``(B, T)`` of which at least the first frame lies inside the event."""
        return torch.cat((frame_valid[:, :1], frame_valid[:, 1::FRAMES_PER_LATENT]), dim=1)

    def _encode(self, frames: Tensor) -> Tensor:
        """``(B, V, F, 3, H, W)`` to latents ``(B, V, C, T, h, w)``."""
        return self.codec.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def _encode_still(self, keyframes: Tensor) -> Tensor:
        """``(B, V, 3, H, W)`` to latents ``(B, V, C / 4, 1, h, w)`` without the channels that are zero."""
        return self.codec.encode_still(keyframes.flatten(0, 1)).unflatten(0, keyframes.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, V, C, T, h, w)`` to frames ``(B, V, F, 3, H, W)`` in [-1, 1]."""
        return self.codec.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
