# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The video's half of inference: the event's future, integrated from noise while the keyframe stays clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT
from lerobot_wallwm.policies.model import flow_matching as fm
from lerobot_wallwm.policies.towers.action_tower import VideoContext
from lerobot_wallwm.policies.towers.attention import at_hand
from lerobot_wallwm.policies.towers.frame_layouts import mask_of_look

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


class Imagination:
    """One imagined future of a batch of events.

    Args:
        model: Its video tower imagines; its action tower reads what that sees.
        z_key: Keyframe latents ``(B, V, C, 1, h, w)``.
        text: Caption tokens ``(B, L, E)``.
        planned: ``(B,)`` frames that each event still lasts.
        num_steps: Denoising steps of the whole schedule.
        noise: Standard normal, ``(B, V, C, N, h, w)``.
        view_ids: ``(V,)`` rows of the view table; None for the first V.
        z_seen: Latents of history and anchor ``(B, V, C, 1 + M, h, w)``; None for the keyframe's alone.
        seen_valid: ``(B, 1 + M)``, False before the rollout's start; None if all are valid.
        chunk: ``(B,)`` which chunk of the rollout this is; None for events.
        landmarks: Of the keyframes ``(B, V, K, D)``, as they enter the tower; None without any.
    """

    def __init__(
        self,
        model: WorldActionModel,
        z_key: Tensor,
        text: Tensor,
        planned: Tensor,
        num_steps: int,
        noise: Tensor,
        view_ids: Tensor | None = None,
        z_seen: Tensor | None = None,
        seen_valid: Tensor | None = None,
        chunk: Tensor | None = None,
        landmarks: Tensor | None = None,
    ):
        shape, device = model.shape, z_key.device
        self.model, self.text, self.z_key, self.view_ids = model, text, z_key, view_ids
        self.z_seen, self.chunk = z_key if z_seen is None else z_seen, chunk
        self.landmarks = landmarks
        self.levels = fm.schedule(num_steps, shape.video_shift, device)
        self.stop = round(num_steps * fm.ANCHOR_STEP / fm.ANCHOR_STEPS)
        self.done = 0
        future = torch.arange(shape.num_future_latents, device=device)
        # A latent is dreamt if the event still lasts when its first frame is due.
        first_frame = future * shape.actions_per_latent + shape.actions_per_latent // FRAMES_PER_LATENT
        in_event = first_frame < planned[:, None]
        if seen_valid is None:
            seen_valid = in_event.new_ones(len(planned), 1)
        longest = shape.num_future_latents
        if at_hand(in_event):
            longest = int(in_event.sum(1).max())  # no sample needs latents beyond it
        self.latent_valid = torch.cat((seen_valid, in_event[:, :longest]), dim=1)
        self.hidden = mask_of_look(self.latent_valid)
        self.z = noise[:, :, :, :longest]
        self.z_0_hat = z_key.expand_as(self.z)

    def _forward(self) -> list[Tensor]:
        """One forward at the current noise level; returns the tower's layers."""
        t = self.levels[self.done]
        batch, frames, seen = len(self.z), self.z.shape[3], self.z_seen.shape[3]
        t_frames = torch.cat((t.new_zeros(batch, seen), t.expand(batch, frames)), dim=1)
        features = self.model.video(
            torch.cat((self.z_seen, self.z), dim=3),
            t_frames,
            self.text,
            self.hidden,
            view_ids=self.view_ids,
            given=seen,
            landmarks_BVKD=self.landmarks,
        )
        assert features.prediction is not None
        prediction = features.prediction
        if self.model.shape.video_prediction == "velocity":
            self.velocity, self.z_0_hat = prediction, self.z - t * prediction
        else:
            self.z_0_hat = self.z_key + prediction
            self.velocity = fm.velocity_from_data(self.z, self.z_0_hat, t.expand(batch))
        return features.layers

    def _advance(self) -> list[Tensor]:
        """One forward, then one Euler step of the video; returns the forward's layers."""
        layers = self._forward()
        t, s = self.levels[self.done], self.levels[self.done + 1]
        self.z = self.z + (s - t) * self.velocity
        self.done += 1
        return layers

    def _context(self, layers: list[Tensor]) -> VideoContext:
        return self.model.action.read_video(layers, self.view_ids, self.chunk)

    def step(self) -> VideoContext:
        """One forward, then one Euler step of the video; returns what the action tower reads of the forward."""
        return self._context(self._advance())

    def to_anchor(self) -> VideoContext:
        """Integrates to s*; returns what the action tower reads of one forward there."""
        shape = self.model.shape
        # Levels that land on s* exactly, however few steps there are: training held the video there and nowhere else.
        u = torch.linspace(1.0, 1.0 - fm.ANCHOR_STEP / fm.ANCHOR_STEPS, self.stop + 1, device=self.z.device)
        self.levels = fm.shift_noise_level(u, shape.video_shift)
        while self.done < self.stop:
            self._advance()
        return self._context(self._forward())

    def latents(self) -> Tensor:
        """The best current guess of the clean latents, keyframe first; beyond the event the last one holds."""
        z = torch.cat((self.z_key, self.z_0_hat), dim=3)
        last = self.latent_valid[:, self.z_seen.shape[3] :].sum(1)
        length = 1 + self.model.shape.num_future_latents
        index = torch.minimum(torch.arange(length, device=z.device)[None], last[:, None])
        index = index[:, None, None, :, None, None].expand(*z.shape[:3], length, *z.shape[4:])
        return z.gather(3, index)
