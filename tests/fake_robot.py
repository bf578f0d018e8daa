# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A robot without hardware, driven through LeRobot's own calls of the policy and its pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tiny_arm import CAMERAS


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self):
        return self.now


class FakeRobot:
    """Stands where the data begin; its positions reach their goals, unless it is blocked; its pictures may go dark."""

    def __init__(self, policy: Any, pipelines: tuple[Any, Any], state: np.ndarray, task: str = "go there"):
        self.policy, self.what, self.task = policy, policy.action_space.what, task
        self.pre, self.post = pipelines
        self.fps = policy.config.learned.fps or 20.0
        self.state = np.array(state, float)
        self.dark = self.blocked = False
        self.noise = torch.Generator().manual_seed(0)
        policy.guards.clock = self.clock = Clock()

    def observation(self) -> dict:
        picture = lambda: torch.rand(3, 32, 32, generator=self.noise) * (0.0 if self.dark else 1.0)  # noqa: E731
        seen = {key: picture() for key in CAMERAS}
        return {
            **seen,
            "observation.state": torch.tensor(self.state, dtype=torch.float32),
            "task": "go there",
        }

    def tick(self) -> np.ndarray:
        sent = self.post(self.policy.select_action(self.pre(self.observation())))[0].double().numpy()
        for d, dim in enumerate(self.what.action):
            if dim.kind == "position" and dim.follows >= 0 and not self.blocked:
                self.state[dim.follows] = sent[d]
        for turn, seen in self.what.turns:
            if not self.blocked and turn.form == seen.form:
                self.state[list(seen.dims)] = sent[list(turn.dims)]
        self.clock.now += 1 / self.fps
        return sent
