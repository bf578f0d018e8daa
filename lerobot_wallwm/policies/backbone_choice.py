# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From a policy's configuration to its backbone: finds the files, and fills in what a checkpoint must remember."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from ..hub.backbones import BackboneSource
from .configuration_wallwm import WallwmConfig
from .shape_from_config import video_shape
from .wan_backbone import WanBackbone

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
