# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Flags of `wallwm prepare --scale.*`; scale_out.py does the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STEPS = ("all", "annotate", "merge")


@dataclass
class ScaleConfig:
    """Segmenting and captioning in shards of episodes under datatrove's executors."""

    # Shards; 0 works through the episodes in this process, without datatrove. Choose it once for a dataset.
    tasks: int = 0
    # Processes on this machine.
    workers: int = 1
    # Where the shards lie while they are made; default: <out.root>.shards. All machines must see it.
    root: Path | None = None
    # annotate (shards only), merge (shards to views) or all.
    step: str = "all"
    # First shard of this machine, and how many; -1: all from the first on.
    first: int = 0
    count: int = -1

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        if self.step not in STEPS:
            raise ValueError(f"--scale.step must be one of {', '.join(STEPS)}, got {self.step!r}")
        if self.tasks < 0 or self.workers < 1:
            raise ValueError(
                f"--scale.tasks={self.tasks} must be at least 0 and --scale.workers={self.workers} at least 1. "
                "Fix: leave them out for one process"
            )
        if self.first < 0 or self.count < -1 or (self.tasks and self.first + max(self.count, 1) > self.tasks):
            raise ValueError(
                f"--scale.first={self.first} and --scale.count={self.count} must lie within "
                f"--scale.tasks={self.tasks}. Fix: leave them out to run all shards"
            )
