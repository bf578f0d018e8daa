# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From a policy's configuration, where numbers follow the backbone and the stage unless set, to the model's shape."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields
from pathlib import Path

import torch
from huggingface_hub import constants

from lerobot_wallwm.hub.files.backbones import BACKBONES, BackboneSource, WanShape
from lerobot_wallwm.policies.batches.action_space import layouts
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.model.wan_backbone import WanBackbone
from lerobot_wallwm.policies.model.world_action_model import ModelShape
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape
from lerobot_wallwm.policies.training.recipes import PARTS
from lerobot_wallwm.policies.training.shards import fsdp_version

logger = logging.getLogger(__name__)

# Of nano's wavelets (8 pixels a latent) and tokens (2 x 2 latents); of the view tables of chunks, whose last row all
# later chunks share. Our choices.
CODEC_LEVELS, PATCH, MAX_CHUNKS = 3, 2, 128


def video_shape(config: WallwmConfig) -> WanShape:
    """Numbers of the video tower: those of `nano`, or the backbone's as learned."""
    if config.backbone != "nano":
        return WanShape(**config.learned.backbone_shape)
    return WanShape(
        width=config.video_width,
        depth=config.video_depth,
        heads=config.video_heads,
        ffn_width=config.video_ffn_width,
        latent_channels=3 * 4**CODEC_LEVELS * 4,
        text_dim=config.text_dim,
        patch=PATCH,
    )


def model_shape(config: WallwmConfig) -> ModelShape:
    """What the model is built from: the configuration's values of the same names, and what follows from them.

    Args:
        config: With the features of a dataset or robot.
    """
    action, state = layouts(config.what)
    nano = config.backbone == "nano"
    follows = {
        "video": video_shape(config),
        "action_dim": len(action),
        "state_dim": len(state),
        "stage": config.training_stage,
        "history_latents": config.past_latents,
        "max_chunks": MAX_CHUNKS if config.chunked else 0,
        "reasoner": None
        if config.vlm == "none"
        else ReasonerShape(tuple(config.learned.words), config.latents, config.staircase),
        "tube": TubeShape(config.tube_probability) if config.tube_probability else None,
        "codec_levels": CODEC_LEVELS,
        "video_prediction": "residual" if nano and PARTS[config.recipe].residual else "velocity",
        "parts": PARTS[config.recipe],
        # nano's is Wan's default.
        "video_shift": 5.0 if nano else BACKBONES[config.backbone].flow_shift,
    }
    same = {f.name: getattr(config, f.name) for f in fields(ModelShape) if hasattr(config, f.name)}
    return ModelShape(**{**same, **follows})


def find_backbone(config: WallwmConfig, empty: bool) -> WanBackbone | None:
    """The parts of the configured Wan backbone, or None for `nano`.

    Fills in ``backbone_path`` (made absolute), ``backbone_revision`` and what ``learned`` knows of the backbone.

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
    learned = config.learned
    if not learned.backbone_shape:
        learned.backbone_shape = asdict(source.video_shape())
    backbone = WanBackbone.find(
        source,
        video_shape(config),
        config.max_text_tokens,
        Path(constants.HF_HOME) / "wallwm" / "text_features",
        learned.text_encoder_id,
        getattr(torch, config.dtype),
        empty,
    )
    config.backbone_revision = source.revision
    learned.text_encoder_id = backbone.text_encoder.identity
    return backbone


def check_sharding() -> None:
    """Raises ValueError for FSDP2 where LeRobot has none: it would fail at the first checkpoint, hours later."""
    if fsdp_version() != 2:
        return
    from lerobot.configs.train import TrainPipelineConfig

    if "parallelism" not in TrainPipelineConfig.__dataclass_fields__:
        raise ValueError(
            "fsdp_version: 2 in accelerate's configuration: this LeRobot gathers its checkpoints with FSDP1's functions. "
            "Fix: fsdp_version: 1 (docs/train/sharding.md), or a LeRobot that has --parallelism.dp_shard."
        )


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
