# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a dataset fills into the policy's configuration before the model is built: cameras, clock, event grammar."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lerobot.configs import FeatureType
from lerobot.utils.feature_utils import dataset_to_policy_features

from lerobot_wallwm.policies.batches.dataset_facts import event_grammar, learn_motion_limits
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.storage.atomic import write_text

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)


def bind_cameras(config: WallwmConfig, dataset_meta: Any | None) -> int:
    """Gives every camera a row of the view tables; returns how many rows were taken before.

    Rows of a checkpoint keep their cameras. A checkpoint from before rows had names has them in the order of its
    features.

    Raises:
        ValueError: ``new_cameras`` names none of the dataset's, or there are more cameras than rows.
    """
    if not config.camera_rows:
        config.camera_rows = assign_rows([], list(config.image_features), config.max_views)
    known = len(config.camera_rows)
    new = [key for key in config.new_cameras if key not in config.image_features]
    features = dataset_to_policy_features(dataset_meta.features) if new and dataset_meta is not None else {}
    for key in new:
        if key not in features or features[key].type is not FeatureType.VISUAL:
            found = [k for k, feature in features.items() if feature.type is FeatureType.VISUAL]
            raise ValueError(
                f"--policy.new_cameras names '{key}', which is no camera of the dataset (it has {found or 'none'}): "
                "name one of those, as the dataset spells it."
            )
        assert config.input_features is not None
        config.input_features[key] = features[key]
    config.camera_rows = assign_rows(config.camera_rows, list(config.image_features), config.max_views)
    return known


def learn_events(config: WallwmConfig, dataset_meta: Any) -> None:
    """Reads the clock, and the event grammar that `wallwm prepare` left in the view's episode metadata.

    Fine-tuning on other events replaces the checkpoint's grammar; data without events leave it alone.
    """
    config.fps = float(dataset_meta.fps)
    if config.chunked:
        # One instruction for all chunks (paper p. 22). What the checkpoint learnt about events stays in it, for
        # --policy.planner=grammar at inference.
        config.planner = "instruction" if config.planner == "grammar" else config.planner
        return
    if "wallwm/template" not in getattr(dataset_meta.episodes, "column_names", []):
        if config.planner == "grammar" and not config.event_transitions:
            logger.warning(
                "The dataset carries no events (run `wallwm prepare` for that): falling back to "
                "--policy.planner=instruction, one event per episode."
            )
            config.planner = "instruction"
        return
    config.event_transitions, config.event_max_frames = event_grammar(dataset_meta.episodes)


def learn_limits(config: WallwmConfig, stats: dict[str, Any] | None, dataset_meta: Any | None) -> None:
    """Measures how the joints move (`motion_limits.py`); another dataset's limits replace the checkpoint's."""
    if stats is None:
        return
    root = getattr(dataset_meta, "root", None)
    config.motion_limits = learn_motion_limits(
        None if root is None else Path(root),
        stats,
        getattr(dataset_meta, "episodes", None),
        config.action_feature_names,
        config.state_feature_names,
    )


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
    write_text(file, json.dumps(policy, indent=4))
    return limits


def assign_rows(rows: list[str], cameras: list[str], max_views: int) -> list[str]:
    """Camera keys of the rows, once every camera has one.

    Args:
        rows: Keys of the rows taken so far.
        cameras: Keys that need a row; those without one take the next free rows in this order.
        max_views: Rows of the tables.

    Raises:
        ValueError: More views than the table holds.
    """
    out = [*rows, *(key for key in cameras if key not in rows)]
    if len(out) > max_views:
        raise ValueError(
            f"{len(out)} cameras exceed --policy.max_views={max_views}; raise it for a new model. A checkpoint's table "
            f"cannot grow ({rows or 'none'} have rows): let a new camera take over a row with --rename_map."
        )
    return out
