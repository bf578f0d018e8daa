# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""An imaginary arm in LeRobot's robot registry, with two cameras, some noise and faults on demand (`--robot.type=watched_arm`)."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lerobot.robots import Robot, RobotConfig
from tiny_arm import JOINT_NAMES


@RobotConfig.register_subclass("watched_arm")
@dataclass(kw_only=True)
class WatchedRobotConfig(RobotConfig):
    """Where the arm stands at first, what it writes down, and what goes wrong from which observation on."""

    # Ctrl-C at this command.
    interrupt_at: int | None = None
    # Every goal is appended to this file as a line of JSON.
    goals: Path = Path("goals.jsonl")
    start: list[float] = field(default_factory=lambda: [0.0] * 6)
    cameras_named: list[str] = field(default_factory=lambda: ["overhead", "wrist"])
    joints_named: list[str] = field(default_factory=lambda: list(JOINT_NAMES))
    frozen_from: int | None = None
    # For so long, in seconds.
    frozen_s: float = 1e9
    black_from: int | None = None
    # This observation takes so long to come, in seconds.
    stall_at: int | None = None
    stall_s: float = 0.0


class WatchedRobot(Robot):
    """See the module. Joints cover half of the way to their goals at each observation."""

    config_class = WatchedRobotConfig
    name = "watched_arm"

    def __init__(self, config: WatchedRobotConfig) -> None:
        super().__init__(config)
        self.config = config
        self.position = dict(zip(config.joints_named, config.start, strict=True))
        self.goal = dict(self.position)
        self._connected = False
        self.sent = 0
        self.looks = 0
        self.frozen: np.ndarray | None = None
        self.frozen_at = 0.0
        self.noise = np.random.default_rng(0)

    @property
    def observation_features(self) -> dict:
        return {
            **dict.fromkeys(self.position, float),
            **dict.fromkeys(self.config.cameras_named, (32, 32, 3)),
        }

    @property
    def action_features(self) -> dict:
        return dict.fromkeys(self.position, float)

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        assert not self._connected
        self._connected = True

    def disconnect(self) -> None:
        assert self._connected
        self._connected = False

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict:
        assert self._connected
        self.looks += 1
        if self.looks == self.config.stall_at:
            time.sleep(self.config.stall_s)
        for name, goal in self.goal.items():
            self.position[name] += (goal - self.position[name]) / 2
        pictures = {name: self._picture() for name in self.config.cameras_named}
        first = self.config.cameras_named[0]
        if self.config.frozen_from is not None and self.looks >= self.config.frozen_from:
            if self.frozen is None:
                self.frozen, self.frozen_at = pictures[first], time.monotonic()
            if time.monotonic() - self.frozen_at < self.config.frozen_s:
                pictures[first] = self.frozen
        if self.config.black_from is not None and self.looks >= self.config.black_from:
            pictures[first] = np.zeros((32, 32, 3), np.uint8)
        return {**self.position, **pictures}

    def send_action(self, action: dict) -> dict:
        assert self._connected
        self.sent += 1
        if self.sent == self.config.interrupt_at:
            raise KeyboardInterrupt
        with self.config.goals.open("a") as file:
            file.write(json.dumps([action[name] for name in self.position]) + "\n")
        self.goal = {name: float(action[name]) for name in self.position}
        return action

    def _picture(self) -> np.ndarray:
        return self.noise.integers(60, 200, (32, 32, 3)).astype(np.uint8)
