# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The numbers that a world action model is built from. Plain data: neither torch nor LeRobot is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .stages import STAGES, Stage


@dataclass(frozen=True)
class WanShape:
    """The numbers that turn diffusers' `WanTransformer3DModel` into one backbone or another."""

    width: int
    depth: int
    heads: int
    ffn_width: int
    latent_channels: int
    text_dim: int
    time_freq_dim: int = 256
    patch: int = 2

    def wan_kwargs(self) -> dict[str, Any]:
        """Arguments of `WanTransformer3DModel`.

        Raises:
            ValueError: Heads do not divide the width into even bands that RoPE can rotate.
        """
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"video width {self.width} must split into {self.heads} heads of even width.")
        return {
            "patch_size": (1, self.patch, self.patch),
            "num_attention_heads": self.heads,
            "attention_head_dim": self.width // self.heads,
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
            "text_dim": self.text_dim,
            "freq_dim": self.time_freq_dim,
            "ffn_dim": self.ffn_width,
            "num_layers": self.depth,
            "cross_attn_norm": True,
        }


@dataclass(frozen=True)
class TubeShape:
    """The numbers of tube masks (see `tube_masks`).

    Attributes:
        probability: Of a sample having one, p_tube.
        condition_probability: Of the keyframe being hidden, too, given that: p_tube^cond.
        smallest: Side of the smallest window in tokens, l_min.
        largest: Of the largest, l_max.
        loss_weight: Of hidden tokens, lambda_mask.
    """

    probability: float
    condition_probability: float
    smallest: int
    largest: int
    loss_weight: float


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
