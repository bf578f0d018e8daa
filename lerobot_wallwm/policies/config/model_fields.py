# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Fields that shape the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lerobot.configs import FeatureType

from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.policies.training.stages import STAGES

if TYPE_CHECKING:
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig

_CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "stage": tuple(STAGES),
    "action_prediction": ("x", "v"),
    "imagination": ("none", "anchor", "full"),
    "view_fusion": ("cross", "tile", "none"),
    "resize": ("stretch", "pad"),
    "planner": ("grammar", "script", "instruction", "human", "vlm"),
    "on_stall": ("retry", "next", "hold"),
    "optimizer": ("adamw", "muon"),
    "on_plan_end": ("hold", "repeat"),
}
_COUNTS = (
    "num_future_latents",
    "video_stride",
    "action_draws",
    "num_inference_steps",
    "max_views",
    "max_chunks",
)
_FRACTIONS = ("tube_probability", "tube_condition_probability", "future_fraction", "anchored_fraction")
# Smallest values of the fields that have one besides the counts.
_LEAST = {
    "tube_loss_weight": 0,
    "dct_loss_weight": 0,
    "history_latents": 0,
    "keypoints": 0,
    "sight_cone_widen": 1,
}


def check_backbone(config: WallwmConfig) -> None:
    """Raises ValueError for an unknown backbone, or fields that it does not have."""
    _check_choice("backbone", config.backbone, ("nano", *BACKBONES))
    if config.backbone == "nano" and (config.backbone_path or config.backbone_revision):
        raise ValueError(
            "--policy.backbone_path and --policy.backbone_revision are for the Wan backbones; nano has no weights "
            f"to start from. Add --policy.backbone={' or '.join(BACKBONES)}."
        )


def check_fields(config: WallwmConfig) -> None:
    """Raises ValueError for values out of range, or fields that contradict each other."""
    for name, choices in _CHOICES.items():
        _check_choice(name, getattr(config, name), choices)
    for name in _COUNTS:
        if config.by_stage(name) < 1:
            raise ValueError(f"--policy.{name} must be at least 1, got {getattr(config, name)}.")
    for name in _FRACTIONS:
        if not 0.0 <= config.by_stage(name) <= 1.0:
            raise ValueError(f"--policy.{name} must lie in [0, 1], got {getattr(config, name)}.")
    for name, least in _LEAST.items():
        if getattr(config, name) < least:
            raise ValueError(f"--policy.{name} must be at least {least}, got {getattr(config, name)}.")
    if config.stage == "video" and config.by_stage("future_fraction") < 1.0:
        raise ValueError(
            "--policy.stage=video learns from the future alone: --policy.future_fraction must be 1 there, got "
            f"{config.future_fraction}."
        )
    if config.video_train_shift is not None and config.video_train_shift <= 0:
        raise ValueError(f"--policy.video_train_shift must be above 0, got {config.video_train_shift}.")
    if not 0.0 <= config.by_stage("ema_decay") < 1.0:
        raise ValueError(f"--policy.ema_decay must lie in [0, 1), got {config.ema_decay}.")
    config.caption_drop()  # raises where it makes no sense
    if not 0 <= config.chunk_steps <= config.horizon:
        raise ValueError(
            f"--policy.chunk_steps must lie in [0, {config.horizon}], the horizon, got {config.chunk_steps}."
        )
    if config.calibration is not None and config.view_fusion != "cross":
        raise ValueError(
            f"--policy.calibration masks cross-view attention, which --policy.view_fusion={config.view_fusion} does not "
            "have: use --policy.view_fusion=cross, or no calibration."
        )
    if config.planner == "script" and not config.script:
        raise ValueError(
            "--policy.planner=script needs --policy.script='[\"reach for the red cube\", ...]', got an empty list."
        )


def check_features(config: WallwmConfig) -> None:
    """Raises ValueError for a dataset or robot that the policy cannot be built for."""
    if not config.image_features:
        raise ValueError(
            "wallwm needs at least one camera: the dataset's meta/info.json has no feature named "
            "'observation.images.*' of dtype 'video' or 'image'."
        )
    if config.robot_state_feature is None:
        raise ValueError(
            "wallwm needs 'observation.state': add the joint positions to the dataset's features."
        )
    if config.action_feature is None:
        raise ValueError("wallwm needs 'action': the dataset's meta/info.json has no such feature.")
    if len(config.image_features) > config.max_views:
        raise ValueError(
            f"{len(config.image_features)} cameras exceed --policy.max_views={config.max_views}; raise it."
        )
    for key, feature in config.image_features.items():
        if feature.type is not FeatureType.VISUAL or len(feature.shape) != 3:
            raise ValueError(f"'{key}' must be an image of shape (3, height, width), got {feature.shape}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"--policy.{name}={value} is not available: choose one of {', '.join(choices)}.")
