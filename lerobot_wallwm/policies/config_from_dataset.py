# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a dataset fills into the policy's configuration before the model is built: cameras, clock, event grammar."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lerobot.configs import FeatureType
from lerobot.utils.feature_utils import dataset_to_policy_features

from .configuration_wallwm import WallwmConfig
from .dataset_facts import event_grammar
from .motion_limits import learn_motion_limits
from .view_table import assign_rows

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
