# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a policy learns from a dataset before its model is built: cameras, names, clock, event grammar, limits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lerobot.configs import FeatureType
from lerobot.utils.constants import ACTION, OBS_STATE
from lerobot.utils.feature_utils import dataset_to_policy_features

from lerobot_wallwm.embodiment.dataset import describe, flat_names
from lerobot_wallwm.policies.batches.dataset_facts import (
    event_grammar,
    event_rows,
    event_texts,
    instruction_slots,
    learn_motion_limits,
)
from lerobot_wallwm.policies.batches.grips import learn_holds
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.training.stages import STAGES

logger = logging.getLogger(__name__)


def learn(config: WallwmConfig, stats: dict[str, Any] | None, dataset_meta: Any | None) -> int:
    """Fills ``config.learned`` from a dataset, where there is one; returns how many rows of the view tables were taken.

    Args:
        config: With ``learned`` as the checkpoint has it, empty for a new policy.
        stats: The dataset's statistics, or None.
        dataset_meta: Its metadata, or None.

    Raises:
        ValueError: ``new_cameras`` names none of the dataset's, or there are more cameras than rows.
    """
    _leave_out_depth(config)
    known = _bind_cameras(config, dataset_meta)
    root = getattr(dataset_meta, "root", None)
    events = event_rows(dataset_meta)
    if dataset_meta is not None:
        _learn_names(config, dataset_meta.features)
        _learn_embodiment(config, dataset_meta)
        _learn_events(config, dataset_meta, events)
        if config.vlm != "none":
            _learn_words(config, dataset_meta)
    if stats is not None:
        follow_stage(config)  # before anything is built
    if stats is not None:  # another dataset's limits replace the checkpoint's
        learned = config.learned
        place = None if root is None else Path(root)
        learned.motion_limits = learn_motion_limits(place, stats, events, config.what)
        if not config.chunked:
            learned.holds = learn_holds(place, events, config.what)
            if learned.holds:
                logger.info(
                    "The gripper holds something at the end of: %s.", "; ".join(sorted(learned.holds))
                )
    return known


def _leave_out_depth(config: WallwmConfig) -> None:
    """Cameras of one channel show distances, which the video tower does not read."""
    depth = [key for key, feature in config.image_features.items() if tuple(feature.shape)[:1] == (1,)]
    for key in depth:
        assert config.input_features is not None
        del config.input_features[key]
    if depth:
        logger.warning("Left out, for they show distances and not colours: %s.", ", ".join(depth))


def _learn_embodiment(config: WallwmConfig, dataset_meta: Any) -> None:
    """What action and state are; a view carries it, as `wallwm prepare --embodiment` corrected it."""
    features = dataset_meta.features
    if ACTION not in features or OBS_STATE not in features:
        return
    root = getattr(dataset_meta, "root", None)
    fps = float(getattr(dataset_meta, "fps", 0) or 30.0)
    config.learned.embodiment = describe(None if root is None else Path(root), features, fps)
    for line in config.learned.embodiment.lines():
        logger.info("Action, %s.", line)


def _bind_cameras(config: WallwmConfig, dataset_meta: Any | None) -> int:
    """Gives every camera a row of the view tables; rows of a checkpoint keep their cameras."""
    learned = config.learned
    if not learned.camera_rows:
        learned.camera_rows = assign_rows([], list(config.image_features), config.max_views)
    known = len(learned.camera_rows)
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
    learned.camera_rows = assign_rows(learned.camera_rows, list(config.image_features), config.max_views)
    return known


def _learn_names(config: WallwmConfig, features: dict[str, Any]) -> None:
    """Joint names, which decide what can be relative, and how many there are."""
    if OBS_STATE in features and config.input_features is not None:
        # LeRobot lets a checkpoint's inputs be, whatever arm the dataset shows.
        config.input_features[OBS_STATE] = dataset_to_policy_features({OBS_STATE: features[OBS_STATE]})[
            OBS_STATE
        ]
    for key, name in ((ACTION, "action_feature_names"), (OBS_STATE, "state_feature_names")):
        if key in features:
            setattr(config.learned, name, list(flat_names(features[key].get("names"))) or None)


def _learn_events(config: WallwmConfig, dataset_meta: Any, events: Sequence[Mapping[str, Any]]) -> None:
    """Reads the clock, and the grammar of the events that `wallwm prepare` left in the view.

    Fine-tuning on other events replaces the checkpoint's grammar; data without events leave it alone.
    """
    config.learned.fps = float(dataset_meta.fps)
    if config.chunked:
        # One instruction for all chunks (paper p. 22). What the checkpoint learnt about events stays in it, for
        # --policy.planner=grammar at inference.
        config.planner = "instruction" if config.planner == "grammar" else config.planner
        return
    if not events:
        if config.planner == "grammar" and not config.learned.event_transitions:
            logger.warning(
                "The dataset carries no events (run `wallwm prepare` for that): falling back to "
                "--policy.planner=instruction, one event per episode."
            )
            config.planner = "instruction"
        return
    config.learned.event_transitions, config.learned.event_max_frames = event_grammar(events)
    config.learned.instructions = instruction_slots(events)


def _learn_words(config: WallwmConfig, dataset_meta: Any) -> None:
    """The words of the dataset's captions and instructions, after those that the checkpoint knows."""
    texts = [*map(str, dataset_meta.tasks.index), *(event_texts(dataset_meta) or ([], []))[0]]
    new = sorted({word for text in texts for word in split_words(text)} - set(config.learned.words))
    config.learned.words += new


def follow_stage(config: WallwmConfig) -> None:
    """Notes the stage that begins now.

    Raises:
        ValueError: It builds on a stage that the checkpoint has not been through since its words last changed.
    """
    learned, stage = config.learned, config.stage
    needed = {"staircase": "vlm", "unified": "staircase"}.get(stage)
    since = next(
        (i for i in range(len(learned.stages), 0, -1) if "text" in STAGES[learned.stages[i - 1]].trains), 0
    )
    if needed is not None and needed not in learned.stages[since:]:
        before = f"has been through {' -> '.join(learned.stages)}" if learned.stages else "is new"
        raise ValueError(
            f"--policy.stage={stage} goes on from --policy.stage={needed}, with the towers' words as they were then; this "
            f"policy {before}. Fix: train --policy.stage={needed} first, from this checkpoint"
        )
    if learned.stages[-1:] != [stage]:
        learned.stages = [*learned.stages, stage]


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
