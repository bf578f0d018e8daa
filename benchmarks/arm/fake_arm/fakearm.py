# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""An arm without hardware for LeRobot's registry (`--robot.type=fake_arm`): joints follow their goals like slow servos, and
the cameras show the posture."""

import math
import time
from dataclasses import dataclass, field

import numpy as np
from lerobot.robots import Robot, RobotConfig

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@RobotConfig.register_subclass("fake_arm")
@dataclass(kw_only=True)
class FakeArmConfig(RobotConfig):
    """How it looks and moves."""

    # Cameras, and the side of their square pictures.
    views: list[str] = field(default_factory=lambda: ["wrist", "overhead"])
    size: int = 96
    # Time constant of the servos, seconds.
    lag_s: float = 0.1
    # Where it stands at first, degrees and percent.
    start: list[float] = field(default_factory=lambda: [0.0, -60.0, 50.0, 75.0, -90.0, 25.0])
    # This joint does not move.
    stuck: str | None = None
    # File that gets one line of JSON a goal: seconds, and the goal.
    journal: str | None = None


class FakeArm(Robot):
    """See the module."""

    config_class = FakeArmConfig
    name = "fake_arm"

    def __init__(self, config: FakeArmConfig) -> None:
        super().__init__(config)
        self.config = config
        self.position = np.array(config.start, np.float64)
        self.goal = self.position.copy()
        self._then = time.perf_counter()
        self._connected = False
        rng = np.random.default_rng(0)
        self._scenes = {
            view: rng.integers(0, 255, (config.size, config.size, 3), dtype=np.uint8) for view in config.views
        }
        self._journal = open(config.journal, "a", buffering=1) if config.journal else None  # noqa: SIM115

    @property
    def observation_features(self) -> dict:
        pictures = dict.fromkeys(self.config.views, (self.config.size, self.config.size, 3))
        return {**self.action_features, **pictures}

    @property
    def action_features(self) -> dict:
        return {f"{motor}.pos": float for motor in MOTORS}

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def _move(self) -> None:
        now = time.perf_counter()
        share = 1 - math.exp(-(now - self._then) / self.config.lag_s)
        self._then = now
        way = share * (self.goal - self.position)
        if self.config.stuck:
            way[MOTORS.index(self.config.stuck)] = 0.0
        self.position += way

    def get_observation(self) -> dict:
        self._move()
        shift = int(self.position[0]) % self.config.size
        pictures = {view: np.roll(scene, shift, axis=1) for view, scene in self._scenes.items()}
        return {**dict(zip(self.action_features, map(float, self.position), strict=True)), **pictures}

    def send_action(self, action: dict) -> dict:
        self._move()
        self.goal = np.array([action[name] for name in self.action_features], np.float64)
        if self._journal is not None:
            values = ", ".join(f"{value:.5f}" for value in self.goal)
            self._journal.write(f'{{"t": {time.perf_counter():.6f}, "goal": [{values}]}}\n')
        return action

    def disconnect(self) -> None:
        self._connected = False
        if self._journal is not None:
            self._journal.close()
