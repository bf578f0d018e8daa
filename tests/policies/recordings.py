# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A recording of one long sequence, and the windows that LeRobot cuts from it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from tiny_arm import CAMERAS
from torch import Tensor


@dataclass
class Recording:
    """``frames`` of each camera ``(T, 3, H, W)``, ``states`` ``(T, 6)``, normalised ``actions`` ``(T, 6)``."""

    frames: dict[str, Tensor]
    states: Tensor
    actions: Tensor
    task: str = "put the red cube on the blue disc"

    @classmethod
    def random(cls, length: int, seed: int = 0, size: int = 32) -> Recording:
        g = torch.Generator().manual_seed(seed)
        frames = {key: torch.rand(length, 3, size, size, generator=g) for key in CAMERAS}
        states = torch.rand(length, 6, generator=g) * 60 - 30
        return cls(frames, states, torch.rand(length, 6, generator=g) * 2 - 1)

    def __len__(self) -> int:
        return len(self.states)

    def meta(self) -> Any:
        """As much of LeRobot's metadata as says where the episode begins and ends."""
        episodes = {"dataset_from_index": [0], "dataset_to_index": [len(self)], "length": [len(self)]}
        return SimpleNamespace(root=None, fps=10, features={}, episodes=episodes)

    def window(self, config: Any, anchors: list[int]) -> dict[str, Any]:
        """A training batch: LeRobot clamps indices to the episode and flags those outside."""
        batch: dict[str, Any] = {"task": [self.task] * len(anchors), "index": torch.tensor(anchors)}
        batch["episode_index"] = torch.zeros(len(anchors), dtype=torch.long)
        for key, values, deltas in (
            *((key, frames, config.observation_delta_indices) for key, frames in self.frames.items()),
            ("observation.state", self.states, config.observation_delta_indices),
            ("action", self.actions, config.action_delta_indices),
        ):
            wanted = torch.tensor(anchors)[:, None] + torch.tensor(deltas)
            batch[key] = values[wanted.clamp(0, len(self) - 1)]
            batch[f"{key}_is_pad"] = (wanted < 0) | (wanted >= len(self))
        return batch

    def observation(self, tick: int) -> dict[str, Any]:
        """What `lerobot-eval` hands over at one tick."""
        batch: dict[str, Any] = {key: frames[tick : tick + 1] for key, frames in self.frames.items()}
        return {**batch, "observation.state": self.states[tick : tick + 1], "task": [self.task]}
