# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a rollout knows of each robot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.planning.choice import _FPS, make_planner
from lerobot_wallwm.policies.planning.planners import (
    InstructionPlanner,
)
from lerobot_wallwm.storage.line_log import LineLog

# An event is left once this many predicted frames remain (our choice).
END_THRESHOLD = 1.5


def new_cursor(config: WallwmConfig, log: LineLog, robot: int = 0) -> EventCursor:
    """A robot's place before its first event.

    Raises:
        ValueError: ``script`` holds a caption that the checkpoint does not know, or there is no grammar to follow.
    """
    steps = config.chunk_length if config.chunked else config.replan_steps
    fps = config.learned.fps or _FPS
    cursor = EventCursor(
        InstructionPlanner(), steps, END_THRESHOLD, config.on_plan_end == "repeat", fps, log, robot
    )
    cursor.planner = make_planner(config, cursor, fps)
    return cursor


PlanJob = Callable[[], Plan]


def captions_of(batch: dict[str, Any]) -> list[str]:
    """The instructions of a batch.

    Raises:
        ValueError: It has none.
    """
    if "task" not in batch:
        raise ValueError(
            "The observation has no 'task': pass --task=... (rollout) or an env with a description."
        )
    task = batch["task"]
    return [task] if isinstance(task, str) else [str(text) for text in task]
