# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The part of the policy's configuration that the guards read; docs/act/safety.md says what each does."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot_wallwm.policies.config.acting_fields import ActingFields
from lerobot_wallwm.policies.config.model_fields import check_choice, check_least


@dataclass
class SafetyFields(ActingFields):
    """Guards between the policy and the arm. All numbers are our choice."""

    # Where guards may hold and stop: `arm`; `simulation` only counts; `auto`: `arm` except in lerobot-train and -eval.
    guards: str = "auto"
    # Largest change of a goal per tick, as a multiple of the data's (99.9th percentile, each joint); 0: no limit.
    rate_limit: float = 1.5
    # Seconds between observation and action, or two calls, after which plans are stale and the arm is held; 0: never.
    watchdog_s: float = 1.0
    # Seconds of frozen or dark cameras, or one observation, after which the run ends (held from the start); 0: never.
    camera_timeout_s: float = 2.0
    # How far outside the data's range a joint may stand at the first observation, as a part of it; 0: anywhere.
    start_margin: float = 0.25
    # Extra room of goals, in half ranges, beyond the actions that the data has seen.
    action_clamp_margin: float = 0.0
    # JSONL file to which every intervention is appended.
    safety_log: str | None = None

    def check(self) -> None:
        """Raises ValueError for settings that no guard can follow."""
        super().check()
        check_choice("guards", self.guards, ("auto", "arm", "simulation"))
        check_least(self, rate_limit=0, watchdog_s=0, camera_timeout_s=0, start_margin=0)
