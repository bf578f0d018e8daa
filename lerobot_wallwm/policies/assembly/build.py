# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From a policy's configuration, where numbers follow the backbone and the stage unless set, to the model's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.model.shape import ModelShape
from lerobot_wallwm.policies.training.stages import STAGES

if TYPE_CHECKING:
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from lerobot_wallwm.hub.files.backbones import BackboneSource
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model.wan_backbone import WanBackbone


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


logger = logging.getLogger(__name__)


def find_backbone(config: WallwmConfig, empty: bool) -> WanBackbone | None:
    """The parts of the configured Wan backbone, or None for `nano`.

    Fills in ``backbone_shape``, ``backbone_path`` (made absolute), ``backbone_revision`` and ``text_encoder_id``.

    Args:
        config: The policy's configuration.
        empty: Whether the video tower's weights come from a checkpoint.

    Raises:
        WeightsError: A part is missing, damaged, or of another backbone.
    """
    if config.backbone == "nano":
        return None
    if config.backbone_path is not None:  # found again from wherever the checkpoint is used
        config.backbone_path = str(Path(config.backbone_path).expanduser().absolute())
    source = BackboneSource(config.backbone, config.backbone_path, config.backbone_revision)
    if not config.backbone_shape:
        config.backbone_shape = asdict(source.video_shape())
    backbone = WanBackbone.find(
        source,
        video_shape(config),
        config.max_text_tokens,
        text_cache_folder(config),
        config.text_encoder_id,
        getattr(torch, config.dtype),
        empty,
    )
    config.backbone_revision = source.revision
    config.text_encoder_id = backbone.text_encoder.identity
    return backbone


def text_cache_folder(config: WallwmConfig) -> Path:
    """Where umT5's features are kept."""
    if config.text_cache is not None:
        return Path(config.text_cache).expanduser()
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "wallwm" / "text_features"


def check_precision(dtype: str, device: str) -> None:
    """Raises ValueError if the device cannot compute in ``dtype``; warns where it can, but slowly."""
    if dtype != "bfloat16":
        return
    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ValueError(
            f"--policy.dtype=bfloat16: {name} has no bfloat16 arithmetic. Use --policy.dtype=float32."
        )
    if kind == "cpu":
        logger.warning("--policy.dtype=bfloat16 on a CPU is usually slower than --policy.dtype=float32.")
