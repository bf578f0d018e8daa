# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From a policy's configuration, where numbers follow the backbone and the stage unless set, to the model's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..hub.backbones import BACKBONES
from .model_shape import ModelShape, TubeShape, WanShape
from .stages import STAGES

if TYPE_CHECKING:
    from .configuration_wallwm import WallwmConfig

# Our choice, for two CPU cores.
_NANO: dict[str, Any] = {
    "image_size": (96, 96),
    "max_text_tokens": 16,
    "action_width": 96,
    "action_heads": 4,
    "action_ffn_width": 192,
    "video_shift": 5.0,
    "optimizer_lr": 1e-3,
}


def defaults_of(backbone: str) -> dict[str, Any]:
    """Values of the fields that follow the backbone unless they are set."""
    if backbone == "nano":
        return _NANO
    wan = BACKBONES[backbone]
    return {
        "image_size": (192, 224),
        "max_text_tokens": wan.max_text_tokens,
        "video_shift": wan.flow_shift,
        "optimizer_lr": 1e-4,
        **wan.policy,
    }


def video_shape(config: WallwmConfig) -> WanShape:
    """Numbers of the video tower: those of `nano`, or the backbone's as filled in."""
    if config.backbone != "nano":
        return WanShape(**config.backbone_shape)
    return WanShape(
        width=config.video_width,
        depth=config.video_depth,
        heads=config.video_heads,
        ffn_width=config.video_ffn_width,
        latent_channels=3 * 4**config.codec_levels * 4,
        text_dim=config.text_dim,
        patch=config.patch,
    )


def model_shape(config: WallwmConfig) -> ModelShape:
    """Sizes of the model.

    Args:
        config: With the features of a dataset or robot.
    """
    assert config.robot_state_feature is not None and config.action_feature is not None
    return ModelShape(
        video=video_shape(config),
        codec_levels=config.codec_levels,
        image_size=config.image_size,
        max_views=config.max_views,
        max_text_tokens=config.max_text_tokens,
        action_width=config.action_width,
        action_heads=config.action_heads,
        action_ffn_width=config.action_ffn_width,
        keypoints=config.keypoints,
        action_dim=config.action_feature.shape[-1],
        state_dim=config.robot_state_feature.shape[-1],
        num_future_latents=config.num_future_latents,
        actions_per_latent=config.actions_per_latent,
        action_draws=config.by_stage("action_draws"),
        action_prediction=config.action_prediction,
        future_fraction=config.by_stage("future_fraction"),
        anchored_fraction=config.by_stage("anchored_fraction"),
        anchor_step=config.anchor_step,
        anchor_steps=config.anchor_steps,
        anchor_jitter=config.anchor_jitter,
        video_shift=config.video_shift,
        view_fusion=config.view_fusion,
        tube=_tube_shape(config),
        video_prediction="residual" if config.backbone == "nano" else "velocity",
        video_train_shift=_video_train_shift(config),
        dct_loss_weight=config.dct_loss_weight,
        stage=STAGES[config.stage],
        history_latents=config.past_latents,
        max_chunks=config.max_chunks if config.chunked else 0,
        packing=config.packing,
        gradient_checkpointing=config.gradient_checkpointing,
    )


def _tube_shape(config: WallwmConfig) -> TubeShape | None:
    if not config.tube_probability:
        return None
    return TubeShape(
        config.tube_probability,
        config.tube_condition_probability,
        config.tube_min,
        config.tube_max,
        config.tube_loss_weight,
    )


def _video_train_shift(config: WallwmConfig) -> float:
    if config.video_train_shift is not None:
        return config.video_train_shift
    return 1.0 if STAGES[config.stage].uniform_video_levels else config.video_shift
