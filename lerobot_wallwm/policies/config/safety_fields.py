# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The part of the policy's configuration that the guards read; docs/safety.md says what each does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class SafetyFields:
    """Guards between the policy and the arm. All numbers are our choice."""

    # Where the guards that go by the clock or by what the cameras show may hold and stop: `arm`; `simulation` only
    # counts what they find; `auto` is `simulation` where LeRobot has built the policy for a dataset or an environment
    # (lerobot-train, lerobot-eval), and `arm` everywhere else.
    guards: str = "auto"
    # Largest change of a goal per tick, as a multiple of the data's (99.9th percentile, each joint). 0: no limit.
    rate_limit: float = 1.5
    # Seconds between an observation and its action, or between two calls, after which plans are stale: the arm is held
    # and the policy looks again. 0: never.
    watchdog_s: float = 1.0
    # Seconds of a frozen or dark camera, or of an observation that does not change, after which the run ends. The arm
    # is held from the start. 0: cameras are not watched.
    camera_timeout_s: float = 2.0
    # How far outside the data's range a joint may stand at the first observation, as a part of that range. 0: anywhere.
    start_margin: float = 0.25
    # Goals that are not finite, after which the run ends; as many finite ones in a row forgive them.
    max_bad_goals: int = 10
    # JSONL file to which every intervention is appended.
    safety_log: str | None = None
    # Learned from the dataset, in its units (see motion_limits.py).
    motion_limits: dict[str, list[float]] = field(default_factory=dict)

    def check_safety(self) -> None:
        """Raises ValueError for settings that no guard can follow."""
        if self.guards not in ("auto", "arm", "simulation"):
            raise ValueError(
                f"--policy.guards={self.guards} is not available: choose one of auto, arm, simulation."
            )
        for name in ("rate_limit", "watchdog_s", "camera_timeout_s", "start_margin"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):  # false for NaN, too
                raise ValueError(f"--policy.{name} must be a number of at least 0, got {value}.")
        if self.max_bad_goals < 1:
            raise ValueError(f"--policy.max_bad_goals must be at least 1, got {self.max_bad_goals}.")
        for name, values in self.motion_limits.items():
            least = 0.0 if name in ("step", "lead", "acceleration") else -math.inf
            if not all(least <= value < math.inf and value > -math.inf for value in values):
                raise ValueError(
                    f"motion_limits['{name}'] in config.json must be finite numbers{' of at least 0' if least == 0 else ''}, "
                    f"got {values}. Fix: use a checkpoint as lerobot-train has written it."
                )
