# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The numbers that a world action model is built from. Plain data: neither torch nor LeRobot is imported."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.training.stages import STAGES, Stage


@dataclass(frozen=True)
class ModelShape:
    """Sizes and constants; `WallwmConfig` explains each."""

    video: WanShape
    codec_levels: int
    image_size: tuple[int, int]
    max_views: int
    max_text_tokens: int
    action_width: int
    action_heads: int
    action_ffn_width: int
    keypoints: int
    action_dim: int
    state_dim: int
    num_future_latents: int
    actions_per_latent: int
    action_draws: int
    action_prediction: str
    future_fraction: float
    anchored_fraction: float
    anchor_step: int
    anchor_steps: int
    anchor_jitter: float
    video_shift: float
    view_fusion: str = "cross"
    tube: TubeShape | None = None
    # What the video head predicts: the `velocity` eps - z_0 (paper p. 8, eq. 7), as Wan does, or the `residual`
    # z_0 - z_key, whose zero is "nothing moves" (our choice for a random start).
    video_prediction: str = "residual"
    video_train_shift: float = 5.0
    dct_loss_weight: float = 0.0
    stage: Stage = STAGES["joint"]
    # Of observation-centred windows; the defaults build an event-centred model.
    history_latents: int = 0
    max_chunks: int = 0
    packing: bool = True
    gradient_checkpointing: bool = False

    @property
    def horizon(self) -> int:
        """Action steps in a window."""
        return self.num_future_latents * self.actions_per_latent
