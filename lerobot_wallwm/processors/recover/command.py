# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm recover`: perturbed starts near recorded contacts, printed, and driven to on an arm.

At each start the port is free again, so that `lerobot-record` can record the recovery from there.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.robots import RobotConfig

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.recover.starts import PerturbedStart, perturbed_starts
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.storage.places import DatasetConfig, source_root

_ARMS = ("so_follower", "koch_follower", "omx_follower", "bi_so_follower", "openarm_follower")


# All of these are our choice.
# Commands a second; LeRobot's usual control rate.
RATE_HZ = 30.0
# A joint that lags this far behind its command, in the dataset's units, has met something.
MOST_LAG = 15.0


class ArmBlockedError(RuntimeError):
    """The arm does not follow its commands."""


@dataclass
class RecoverConfig:
    """`wallwm recover`."""

    # The recorded demonstrations.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # An event table (events.parquet of `wallwm prepare`); without it the dataset is segmented anew.
    table: Path | None = None
    # Labels of the contacts, with commas: grasp, release, ...
    events: str = "grasp"
    # Radius of the ball around a contact pose in joint space, in the dataset's units. The paper gives none; our choice.
    radius_degrees: float = 5.0
    # How many starts.
    starts: int = 10
    # Of the draw.
    seed: int = 0
    # Only this start of the table, counted from 1.
    only: int | None = None
    # Print JSON lines instead of a table.
    json: bool = False
    # The arm, with LeRobot's own flags (--robot.type, --robot.port, ...). None: only print.
    robot: RobotConfig | None = None
    # Fastest joint while driving, degrees a second. Our choice: slow enough to reach for the plug.
    speed: float = 10.0
    # Seconds of the recorded way to the contact that the arm follows; before that it goes straight.
    way_s: float = 2.0
    # Keep the motors' torque on when the port is let go, so that the arm stays at the start.
    hold: bool = True
    # Ask nothing. With more than one start the arm goes on at once, so use it with --only.
    yes: bool = False
    # Parameters of the cuts.
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    # How state and action are read.
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)


def register_robots() -> None:
    """Makes LeRobot's arms and all plugins known, as `lerobot-record` does."""
    from lerobot.utils.import_utils import register_third_party_plugins

    for arm in _ARMS:
        importlib.import_module(f"lerobot.robots.{arm}")
    for camera in ("opencv", "realsense"):
        importlib.import_module(f"lerobot.cameras.{camera}")
    register_third_party_plugins()


def recover(config: RecoverConfig, ask: Callable[[str], str] = input, **driving: Any) -> int:
    """Prints the starts; with a robot, drives to them one after the other. Returns 0, or 130 after Ctrl-C.

    `ask` puts a question to the user; `y` drives, `q` ends, anything else skips. `driving` goes to `drive`.

    Raises:
        DataError: The dataset, or the event table, cannot be used.
        ValueError: A flag is out of range, or the robot's joints are not the dataset's.
    """
    labels = [label.strip() for label in config.events.split(",") if label.strip()]
    source = SourceDataset.open(source_root(config.dataset))
    names, starts = perturbed_starts(
        source,
        read_events(config.table) if config.table else _events(source, config),
        labels,
        radius=config.radius_degrees,
        starts=config.starts,
        seed=config.seed,
        way_s=config.way_s,
        config=config.kinematics,
    )
    chosen = list(enumerate(starts, 1))
    if config.only is not None:
        if not 1 <= config.only <= len(starts):
            known = f"from 1 to {len(starts)}"
            raise ValueError(f"--only must be {known}, got {config.only}. Fix: raise --starts")
        chosen = chosen[config.only - 1 : config.only]
    print_starts(names, chosen, as_json=config.json)
    if config.robot is None:
        return 0
    check_speed(config.speed)
    return _drive_all(config, names, chosen, ask, driving)


def print_starts(
    names: Sequence[str], starts: Sequence[tuple[int, PerturbedStart]], as_json: bool = False
) -> None:
    """Prints the starts as a table, or one JSON object a line."""
    if not as_json:
        joints = [name.removesuffix(".pos") for name in names]
        widths = [max(8, len(joint) + 1) for joint in joints]
        header = "".join(f"{joint:>{width}}" for joint, width in zip(joints, widths, strict=True))
        print(f"{'':>5}{'episode':>8}{'frame':>7}  {'event':<10}{header}   moved by")
    for number, start in starts:
        event = start.event
        moved = float(np.linalg.norm(start.start - start.contact))
        if as_json:
            row = {
                "start": number,
                "episode_index": event.episode_index,
                "frame": event.start,
                "label": event.label,
                "caption": event.caption,
                "joints": {n: round(float(v), 3) for n, v in zip(names, start.start, strict=True)},
                "moved_by": round(moved, 3),
            }
            print(json.dumps(row, ensure_ascii=False))
            continue
        values = "".join(f"{value:>{width}.1f}" for value, width in zip(start.start, widths, strict=True))
        print(f"{number:>5}{event.episode_index:>8}{event.start:>7}  {event.label:<10}{values}{moved:>11.1f}")


def _events(source: SourceDataset, config: RecoverConfig) -> list[Event]:
    from tqdm import tqdm

    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner, least = EventCaptioner(config.kinematics), segmenter.min_frames(source.fps)
    positions = tqdm(range(len(source)), desc="segment", unit=" episodes", leave=False)
    episodes = (source.read(position, least) for position in positions)
    return number_events([captioner(episode, segmenter(episode)) for episode in episodes])


def _drive_all(
    config: RecoverConfig,
    names: Sequence[str],
    starts: Sequence[tuple[int, PerturbedStart]],
    ask: Callable[[str], str],
    driving: dict[str, Any],
) -> int:
    from lerobot.robots import make_robot_from_config

    settings = config.robot
    assert settings is not None
    # Arms with two sides keep one configuration for each.
    for part in (settings, *(value for value in vars(settings).values() if is_dataclass(value))):
        if hasattr(part, "cameras"):
            part.cameras = {}  # no picture is needed to drive
        if config.hold and hasattr(part, "disable_torque_on_disconnect"):
            part.disable_torque_on_disconnect = False
    try:
        robot = make_robot_from_config(settings)
    except ImportError as error:  # the motor library of this arm; LeRobot names it
        raise ValueError(f"--robot.type={settings.type} cannot be used: {error}. Fix: install it") from error
    if set(names) != set(robot.action_features):
        raise ValueError(
            f"--robot.type={settings.type} moves {', '.join(robot.action_features)}, but the dataset recorded "
            f"{', '.join(names)}. Fix: use the arm that the dataset was recorded with"
        )
    print(
        "Nothing here knows the table: the arm goes straight to the recorded way, by joint angles alone. Clear the table, "
        "keep a hand on the plug, and use the --robot flags of the recording (units, calibration)."
    )
    if not config.hold:
        print("The arm goes limp when its port is let go (--hold=false).")
    try:
        for number, start in starts:
            if not config.yes:
                label = f"start {number}: near the {start.event.label} of episode {start.event.episode_index}"
                answer = ask(f"Drive to {label}? [y = yes, q = quit, else skip] ").strip().lower()
                if answer.startswith("q"):
                    return 0
                if not answer.startswith("y"):
                    continue
            robot.connect()
            try:
                drive(robot, names, np.vstack([start.way, start.start]), config.speed, **driving)
            finally:
                robot.disconnect()
            print(f"At start {number}. The port is free: record the recovery with lerobot-record.")
            if not config.yes:
                ask("Press Enter when the recording has ended. ")
    except (KeyboardInterrupt, EOFError):
        print("\nStopped. The arm was told to stay where it is.")
        return 130
    except OSError as error:  # LeRobot's connection errors are ConnectionErrors
        raise ValueError(
            f"--robot.type={settings.type} does not answer: {error}. Fix: check --robot.port, cable and power"
        ) from error
    except ArmBlockedError as error:
        raise ValueError(f"{error}. Fix: clear the way, check the power, and start again") from error
    return 0


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
    here = _position_of(robot, names)
    path = timed_path(np.vstack([here, points]), speed, rate)
    late = max(1, round(0.1 * rate))
    try:
        begin = clock()
        for step, command in enumerate(path):
            robot.send_action(dict(zip(names, map(float, command), strict=True)))
            sleep(max(0.0, begin + (step + 1) / rate - clock()))
            recent = np.vstack([here, path])[max(0, step + 1 - late) : step + 2]
            now = _position_of(robot, names)
            lag = np.maximum(recent.min(axis=0) - now, now - recent.max(axis=0))
            if lag.max() > most_lag:
                joint = int(lag.argmax())
                raise ArmBlockedError(
                    f"{names[joint]} is {lag[joint]:.1f} away from its command: the arm has met something, or its torque is "
                    "off. It stays where it is"
                )
    except BaseException:
        robot.send_action(dict(zip(names, map(float, _position_of(robot, names)), strict=True)))
        raise


def _position_of(robot: Any, names: Sequence[str]) -> np.ndarray:
    observation = robot.get_observation()
    return np.array([float(observation[name]) for name in names])
