# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From demonstrations to events: segment, caption, cluster, balance, carve. Nothing here imports the policy or, on import, LeRobot.

Names are resolved on first use, so that a planner which only needs `parse_instruction` does not pay for scipy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lerobot_wallwm.processors.action_features import ActionFeatures
    from lerobot_wallwm.processors.balancer import (
        BalancerConfig,
        ClusterBalancer,
        balance_figures,
        interleave_probabilities,
    )
    from lerobot_wallwm.processors.captioner import EventCaptioner, number_events
    from lerobot_wallwm.processors.carver import EventCarver
    from lerobot_wallwm.processors.cleaner import EpisodeCleaner, Verdict, read_cleaning, write_cleaning
    from lerobot_wallwm.processors.cleaning_rules import CleanConfig, Recording
    from lerobot_wallwm.processors.clusterer import ClusterConfig, EventClusterer
    from lerobot_wallwm.processors.embedder import EventEmbedder
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
    from lerobot_wallwm.processors.sync_verdict import SyncVerdict
    from lerobot_wallwm.processors.synchronize_dataset import CameraMotion, synchronize_dataset
    from lerobot_wallwm.processors.synchronized_source import SynchronizedSource, read_verdicts
    from lerobot_wallwm.processors.synchronizer import SynchronizerConfig, TemporalSynchronizer
    from lerobot_wallwm.processors.verify import verify_view
    from lerobot_wallwm.processors.vlm_captioner import VlmCaptioner
    from lerobot_wallwm.processors.vlm_config import VlmConfig

_HOMES = {
    "ActionFeatures": "action_features",
    "BalancerConfig": "balancer",
    "ClusterBalancer": "balancer",
    "balance_figures": "balancer",
    "interleave_probabilities": "balancer",
    "ClusterConfig": "clusterer",
    "EventClusterer": "clusterer",
    "EventEmbedder": "embedder",
    "EventCaptioner": "captioner",
    "number_events": "captioner",
    "EventCarver": "carver",
    "CleanConfig": "cleaning_rules",
    "EpisodeCleaner": "cleaner",
    "Recording": "cleaning_rules",
    "Verdict": "cleaner",
    "read_cleaning": "cleaner",
    "write_cleaning": "cleaner",
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
    "SyncVerdict": "sync_verdict",
    "CameraMotion": "synchronize_dataset",
    "synchronize_dataset": "synchronize_dataset",
    "SynchronizedSource": "synchronized_source",
    "read_verdicts": "synchronized_source",
    "SynchronizerConfig": "synchronizer",
    "TemporalSynchronizer": "synchronizer",
    "verify_view": "verify",
    "VlmCaptioner": "vlm_captioner",
    "VlmConfig": "vlm_config",
}

__all__ = [
    "LEVELS",
    "SCHEMA",
    "CleanConfig",
    "CameraMotion",
    "ActionFeatures",
    "BalancerConfig",
    "ClusterBalancer",
    "ClusterConfig",
    "DataError",
    "Episode",
    "EpisodeCleaner",
    "Event",
    "EventCaptioner",
    "EventCarver",
    "EventClusterer",
    "EventEmbedder",
    "EventSegmenter",
    "KinematicsConfig",
    "Recovery",
    "RecoverySampler",
    "Segmentation",
    "SegmenterConfig",
    "Recording",
    "SourceDataset",
    "common_cycles",
    "Verdict",
    "VlmCaptioner",
    "VlmConfig",
    "SyncVerdict",
    "SynchronizedSource",
    "SynchronizerConfig",
    "TemporalSynchronizer",
    "balance_figures",
    "fill",
    "find_recoveries",
    "instruction_template",
    "lift_to_level",
    "interleave_probabilities",
    "number_events",
    "parse_instruction",
    "read_cleaning",
    "read_events",
    "read_verdicts",
    "split_episodes",
    "synchronize_dataset",
    "validate_events",
    "verify_view",
    "write_cleaning",
    "write_events",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
