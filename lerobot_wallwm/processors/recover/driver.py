# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Drives an arm slowly along joint positions, through LeRobot's own robot class."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# All of these are our choice.
# Commands a second; LeRobot's usual control rate.
RATE_HZ = 30.0
# A joint that lags this far behind its command, in the dataset's units, has met something.
MOST_LAG = 15.0


class ArmBlockedError(RuntimeError):
    """The arm does not follow its commands."""


def check_speed(speed: float) -> None:
    """Refuses a speed that is no number above 0."""
    if not (np.isfinite(speed) and speed > 0):
        raise ValueError(f"--speed must be above 0 degrees a second, got {speed}. Fix: 10 is the default")


def timed_path(points: np.ndarray, speed: float, rate: float = RATE_HZ) -> np.ndarray:
    """Commands along a polyline, from rest to rest, so that no joint is faster than `speed`.

    Progress follows a minimum-jerk profile, whose peak is 1.875 times its mean.

    `points` are (N, J), the present position first. Returns (T, J) commands, `rate` a second: the present position is left
    out, and the last row is the last point.
    """
    check_speed(speed)
    lengths = np.abs(np.diff(points, axis=0)).max(axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    steps = max(1, int(np.ceil(1.875 * along[-1] / speed * rate)))
    t = np.arange(1, steps + 1) / steps
    progress = t**3 * (10 - 15 * t + 6 * t * t) * along[-1]
    path = np.stack([np.interp(progress, along, points[:, j]) for j in range(points.shape[1])], axis=1)
    path[-1] = points[-1]
    return path


def drive(
    robot: Any,
    names: Sequence[str],
    points: np.ndarray,
    speed: float,
    *,
    rate: float = RATE_HZ,
    most_lag: float = MOST_LAG,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Drives a connected LeRobot robot from where it is along `points`.

    Whatever ends it early (Ctrl-C, a blocked arm, an error of the bus), the arm is told to stay where it is.

    Args:
        robot: The robot.
        names: J names, as in its observation and action, e.g. `shoulder_pan.pos`.
        points: (N, J) positions to pass, in the dataset's units.
        speed: Fastest joint, units a second.
        rate: Commands a second; `sleep` and `clock` count seconds.
        most_lag: A joint farther than this from all commands of the last tenth of a second raises `ArmBlockedError`.
    """
    here = position_of(robot, names)
    path = timed_path(np.vstack([here, points]), speed, rate)
    late = max(1, round(0.1 * rate))
    try:
        begin = clock()
        for step, command in enumerate(path):
            robot.send_action(dict(zip(names, map(float, command), strict=True)))
            sleep(max(0.0, begin + (step + 1) / rate - clock()))
            recent = np.vstack([here, path])[max(0, step + 1 - late) : step + 2]
            now = position_of(robot, names)
            lag = np.maximum(recent.min(axis=0) - now, now - recent.max(axis=0))
            if lag.max() > most_lag:
                joint = int(lag.argmax())
                raise ArmBlockedError(
                    f"{names[joint]} is {lag[joint]:.1f} away from its command: the arm has met something, or its torque is "
                    "off. It stays where it is"
                )
    except BaseException:
        robot.send_action(dict(zip(names, map(float, position_of(robot, names)), strict=True)))
        raise


def position_of(robot: Any, names: Sequence[str]) -> np.ndarray:
    """(J,) present positions."""
    observation = robot.get_observation()
    return np.array([float(observation[name]) for name in names])
