# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The `lerobot-train` command that repeats a run, from the settings that LeRobot saved with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from lerobot_wallwm.hub.files.safe_files import is_repo_id
from lerobot_wallwm.hub.files.safe_settings import policy_config

# Written by LeRobot or the policy itself, or where a run happened, and not what it was.
_LEARNED = frozenset(
    [
        "type",
        "input_features",
        "output_features",
        "event_transitions",
        "event_max_frames",
        "fps",
        "motion_limits",
        "camera_rows",
        "action_feature_names",
        "state_feature_names",
        "backbone_shape",
        "text_encoder_id",
        "pretrained_path",
        "pretrained_revision",
        "push_to_hub",
        "repo_id",
        "private",
        "device",
        "normalization_mapping",
    ]
)
_ELSEWHERE = frozenset(
    [
        "output_dir",
        "job_name",
        "resume",
        "checkpoint_path",
        "config_path",
        "reward_model",
        "job",
        "optimizer",
        "scheduler",
        "wandb",
        "trackio",
        "parallelism",
        "accelerator",
        "num_workers",
        "log_freq",
        "save_checkpoint",
        "save_freq",
        "policy",
    ]
)


def training_command(train: Mapping[str, Any]) -> list[str]:
    """Lines of one shell command with the flags that differ from their defaults; folders are left out.

    Args:
        train: A `train_config.json` that is `portable`.

    Raises:
        ValueError: It is no training configuration of this policy.
    """
    import draccus
    from lerobot.configs import PreTrainedConfig
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig

    policy = train.get("policy")
    if not isinstance(policy, Mapping) or policy.get("type") != "wallwm":
        raise ValueError(
            "train_config.json: 'policy' is not of type 'wallwm'. Fix: publish the whole checkpoint"
        )
    backbone = policy.get("backbone")
    try:
        plain = policy_config()(device="cpu", **({"backbone": backbone} if isinstance(backbone, str) else {}))
    except ValueError as error:
        raise ValueError(f"train_config.json: policy.backbone: {error}") from error
    defaults = draccus.encode(TrainPipelineConfig(dataset=DatasetConfig(repo_id="")))
    start = policy.get("pretrained_path")
    flags = [
        f"--policy.path={start}" if isinstance(start, str) and is_repo_id(start) else "--policy.type=wallwm"
    ]
    own = {key: value for key, value in policy.items() if key not in _LEARNED}
    flags += _flags("policy.", own, draccus.encode(plain, PreTrainedConfig))
    rest = {key: value for key, value in train.items() if key not in _ELSEWHERE}
    flags += _flags("", rest, defaults)
    if train.get("use_policy_training_preset") is False:
        for name in ("optimizer", "scheduler"):
            flags += _flags(f"{name}.", train.get(name) or {}, {})
    words = ["lerobot-train", *(shlex.quote(" ".join(flag.split())) for flag in flags)]
    return [f"{word} \\" for word in words[:-1]] + words[-1:]


def _flags(prefix: str, ours: Mapping[str, Any], defaults: Any) -> list[str]:
    flags = []
    for key, value in ours.items():
        default = defaults.get(key) if isinstance(defaults, Mapping) else None
        if isinstance(value, Mapping) and isinstance(default, Mapping) and default:
            flags += _flags(f"{prefix}{key}.", value, default)
        elif value != default and value is not None:
            flags.append(f"--{prefix}{key}={value if isinstance(value, str) else json.dumps(value)}")
    return flags
