# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the report shows, gathered from a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.video import Clips

from .stages import StageResult
from .training_log import TrainingLog


@dataclass
class EpisodeView:
    """A demonstration as the report shows it.

    Attributes:
        index: Its number in the source dataset.
        instruction: The dataset's task.
        states: ``(T, D)``.
        joints: D names.
        events: Rows of the event table as dictionaries, all levels.
        keyframes: ``(events of level action, H, W, 3)`` uint8, cameras side by side.
        fps: Of the data.
    """

    index: int
    instruction: str
    states: np.ndarray
    joints: list[str]
    events: list[dict[str, Any]]
    keyframes: np.ndarray
    fps: float

    def level(self, name: str) -> list[dict[str, Any]]:
        """Events of one level, in order."""
        return sorted((e for e in self.events if e["level"] == name), key=lambda e: e["start"])


@dataclass
class ActionExample:
    """Predicted and recorded actions of one held-out event, up to its end, and the observed state."""

    caption: str
    true: np.ndarray
    predicted: np.ndarray
    state: np.ndarray


@dataclass
class Rollout:
    """One simulated episode: videos where they exist, and its line of the progress log."""

    video: Path | None
    imagined: Path | None
    log: dict[str, Any]


@dataclass
class ReportInputs:
    """All that the report shows."""

    summary: dict[str, Any]
    episodes: list[EpisodeView]
    log: TrainingLog
    training: dict[str, Any]
    figures: dict[str, Any]
    examples: list[ActionExample]
    clips: Clips
    rollouts: list[Rollout]
    rollout_note: str
    stages: list[StageResult]
    commands: list[str]
    machine: str
    peak_gb: float
    joints: list[str] = field(default_factory=list)
