# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From demonstrations to events: segment, caption, carve. Nothing here imports the policy or, on import, LeRobot.

Names are resolved on first use, so that a planner which only needs `parse_instruction` does not pay for scipy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lerobot_wallwm.processors.captioner import EventCaptioner, number_events
    from lerobot_wallwm.processors.carver import EventCarver
    from lerobot_wallwm.processors.episodes import Episode, SourceDataset
    from lerobot_wallwm.processors.errors import DataError
    from lerobot_wallwm.processors.events import (
        LEVELS,
        SCHEMA,
        Event,
        read_events,
        validate_events,
        write_events,
    )
    from lerobot_wallwm.processors.instruction import fill, instruction_template, parse_instruction
    from lerobot_wallwm.processors.kinematics import KinematicsConfig
    from lerobot_wallwm.processors.recovery import Recovery, common_cycles, find_recoveries
    from lerobot_wallwm.processors.recovery_sampler import RecoverySampler, lift_to_level
    from lerobot_wallwm.processors.segmenter import EventSegmenter, Segmentation, SegmenterConfig
    from lerobot_wallwm.processors.split import split_episodes
    from lerobot_wallwm.processors.verify import verify_view

_HOMES = {
    "EventCaptioner": "captioner",
    "number_events": "captioner",
    "EventCarver": "carver",
    "split_episodes": "split",
    "Episode": "episodes",
    "SourceDataset": "episodes",
    "DataError": "errors",
    "LEVELS": "events",
    "SCHEMA": "events",
    "Event": "events",
    "read_events": "events",
    "validate_events": "events",
    "write_events": "events",
    "fill": "instruction",
    "instruction_template": "instruction",
    "parse_instruction": "instruction",
    "KinematicsConfig": "kinematics",
    "Recovery": "recovery",
    "common_cycles": "recovery",
    "find_recoveries": "recovery",
    "RecoverySampler": "recovery_sampler",
    "lift_to_level": "recovery_sampler",
    "EventSegmenter": "segmenter",
    "Segmentation": "segmenter",
    "SegmenterConfig": "segmenter",
    "verify_view": "verify",
}

__all__ = [
    "LEVELS",
    "SCHEMA",
    "DataError",
    "Episode",
    "Event",
    "EventCaptioner",
    "EventCarver",
    "EventSegmenter",
    "KinematicsConfig",
    "Recovery",
    "RecoverySampler",
    "Segmentation",
    "SegmenterConfig",
    "SourceDataset",
    "common_cycles",
    "fill",
    "find_recoveries",
    "instruction_template",
    "lift_to_level",
    "number_events",
    "parse_instruction",
    "read_events",
    "split_episodes",
    "validate_events",
    "verify_view",
    "write_events",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
