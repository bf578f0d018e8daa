# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm limits`: gives a checkpoint from before the guards the motion limits of its training data."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lerobot_wallwm.policies.motion_limits import learn_motion_limits


@dataclass
class CheckpointPlace:
    """Where the checkpoint lies."""

    # Folder with config.json.
    path: Path = Path()


@dataclass
class DataPlace:
    """Where the training data lie."""

    # Root of the LeRobotDataset or carved view.
    root: Path = Path()


@dataclass
class LimitsConfig:
    """What to measure, and where to write it."""

    policy: CheckpointPlace = field(default_factory=CheckpointPlace)
    dataset: DataPlace = field(default_factory=DataPlace)


def add_limits(config: LimitsConfig) -> dict[str, list[float]]:
    """Measures the dataset and writes ``motion_limits`` into the checkpoint's config.json.

    Raises:
        ValueError: A file is missing, or the dataset's joints are not the checkpoint's.
    """
    from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

    file, info = config.policy.path / "config.json", config.dataset.root / "meta" / "info.json"
    for needed, flag in ((file, "--policy.path"), (info, "--dataset.root")):
        if not needed.is_file():
            raise ValueError(f"{needed} is missing. Fix: {flag} must name a folder that has it")
    policy = json.loads(file.read_text(encoding="utf-8"))
    if policy.get("type") != "wallwm":
        raise ValueError(
            f"{file} is of a policy of type {policy.get('type')!r}. Fix: name a wallwm checkpoint"
        )
    meta = LeRobotDatasetMetadata(config.dataset.root.name, root=config.dataset.root)
    for key, feature in (("action_feature_names", "action"), ("state_feature_names", "observation.state")):
        names = meta.features.get(feature, {}).get("names")
        if policy.get(key) != names:
            raise ValueError(
                f"{info} names the dimensions of {feature} {names}, but {file} has {policy.get(key)} ({key}). Fix: "
                "measure the data that the checkpoint was trained on"
            )
    limits = learn_motion_limits(
        config.dataset.root,
        {
            key: {name: np.asarray(value) for name, value in stats.items()}
            for key, stats in meta.stats.items()
        },
        meta.episodes,
        policy["action_feature_names"],
        policy["state_feature_names"],
    )
    policy["motion_limits"] = limits
    sibling = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        sibling.write_text(json.dumps(policy, indent=4), encoding="utf-8")
        os.replace(sibling, file)
    finally:
        sibling.unlink(missing_ok=True)
    return limits
