# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The hand of a person who moves limp joints: to the middle, through their ranges, or along a recorded trajectory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Here and not where they are needed: an import while the bus runs keeps the servos silent for longer than a driver waits.
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset  # noqa: F401  which pyarrow.parquet would import at its first use
import pyarrow.parquet as pq

from emulated_arm.arms import Arm, Travel, middle_of

# Our choice: how long a person holds a joint at its end. LeRobot looks at the positions every 20 ms or so.
HOLD = 0.4
# Percent of the travel: where LeRobot lets a Koch leader's gripper spring to, and, our choice, how far open an SO arm's
# gripper counts as open.
SPRING, OPEN = 50.0, 30.0


@dataclass
class Motion:
    """Joints along straight lines between key moments.

    Attributes:
        times: Seconds from the start, increasing, (T,).
        shafts: Shaft ticks at these times by the joint's place in the arm, each (T,).
        loops: Start again at the end.
    """

    times: np.ndarray
    shafts: dict[int, np.ndarray]
    loops: bool = False

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return float(self.times[-1])

    def at(self, seconds: float) -> dict[int, float]:
        """Shaft ticks by joint at a moment."""
        if self.loops and self.duration > 0:
            seconds %= self.duration
        return {index: float(np.interp(seconds, self.times, path)) for index, path in self.shafts.items()}

    def over(self, seconds: float) -> bool:
        """Whether the motion has come to its end."""
        return not self.loops and seconds >= self.duration


def to_middle(arm: Arm, travels: list[Travel], now: list[float], seconds: float = 1.0) -> Motion:
    """From where the joints are (``now``, shaft ticks) to the middle of their ranges."""
    return to_posture(
        {i: middle_of(j, t) for i, (j, t) in enumerate(zip(arm.joints, travels, strict=True))}, now, seconds
    )


def to_posture(posture: dict[int, float], now: list[float], seconds: float = 1.0) -> Motion:
    """From where the joints are to a posture, in shaft ticks by joint."""
    return Motion(np.array([0.0, seconds]), {i: np.array([now[i], end]) for i, end in posture.items()})


def through_ranges(arm: Arm, travels: list[Travel], now: list[float], seconds: float = 1.0) -> Motion:
    """Every joint from stop to stop and back to its middle; those calibrated over the whole turn stay.

    Args:
        arm, travels, now: The arm, its travel, where its joints are.
        seconds: Length of each of the three ways.
    """
    times = np.cumsum([0, seconds, HOLD, seconds, HOLD, seconds])
    shafts = {}
    for index, (joint, travel) in enumerate(zip(arm.joints, travels, strict=True)):
        if joint.full_turn or travel.stops is None:
            continue
        low, high = travel.stops
        path = [now[index], low, low, high, high, middle_of(joint, travel)]
        shafts[index] = np.array(path)
    return Motion(times, shafts)


def along(rows: np.ndarray, fps: float, travels: list[Travel], loops: bool, back: float = 1.0) -> Motion:
    """Along recorded rows.

    Args:
        rows: Joint values in LeRobot's units, (T, joints).
        fps: Rows a second.
        travels: The arm's travel.
        loops: Go back to the first row in ``back`` seconds and start again.
        back: Seconds for the way back.
    """
    if loops:
        rows = np.concatenate([rows, rows[:1]])
    times = np.arange(len(rows)) / fps
    if loops:
        times[-1] = times[-2] + back if len(times) > 1 else back
    shafts = {}
    for index, travel in enumerate(travels):
        path = np.array([travel.to_shaft(value) for value in rows[:, index]])
        shafts[index] = np.clip(path, *travel.stops) if travel.stops else path
    return Motion(times, shafts, loops)


def led_in(motion: Motion, now: list[float], seconds: float = 1.0) -> Motion:
    """The same motion after a way to its start, as no hand jumps there: from ``now`` (shaft ticks) in ``seconds``."""
    return Motion(
        np.concatenate([[0.0], motion.times + seconds]),
        {index: np.concatenate([[now[index]], path]) for index, path in motion.shafts.items()},
    )


def read_actions(source: str, arm: Arm) -> tuple[np.ndarray, float]:
    """Reads the actions of a LeRobotDataset v3.

    Args:
        source: Folder of the dataset, and after a colon the episodes: ``data/my_set``, ``data/my_set:0``,
            ``data/my_set:0,3``. Without episodes: the first.
        arm: The arm that is to follow them.

    Returns:
        The rows in the arm's units, (T, joints) float64, and their rate in Hz. Rows of an SO arm, in degrees, become
        percent of a Koch arm's travel, at the same angles.

    Raises:
        ValueError: No such dataset or episode, or its actions are not this arm's joints; the message says which.
    """
    folder, _, which = source.partition(":")
    root = Path(folder)
    try:
        info = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
        episodes = [int(number) for number in which.split(",")] if which else [0]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source!r} is not a LeRobotDataset with episode numbers after a colon ({error}). "
            "Fix: give its folder, e.g. data/my_set:0,3."
        ) from error
    names = info["features"]["action"]["names"]
    wanted = [f"{joint.name}.pos" for joint in arm.joints]
    if names != wanted:
        raise ValueError(f"the actions of {root} are {names}, not those of a {arm.name}: {wanted}")
    pieces: dict[int, list[np.ndarray]] = {episode: [] for episode in episodes}
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pq.read_table(path, columns=["action", "episode_index"])
        # Before Python sees them, for the same reason.
        table = table.filter(pc.is_in(table["episode_index"], value_set=pa.array(episodes)))
        if len(table) == 0:
            continue
        owners = table["episode_index"].to_numpy()
        flat = pa.concat_arrays([chunk.flatten() for chunk in table["action"].chunks])
        rows = flat.to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float64)
        for episode in pieces:
            pieces[episode].append(rows[owners == episode])
    lengths = {episode: sum(map(len, parts)) for episode, parts in pieces.items()}
    missing = [episode for episode, length in lengths.items() if length == 0]
    if missing:
        raise ValueError(f"{root} has no episode {missing[0]}; it has {info['total_episodes']} episodes")
    found = np.concatenate([part for parts in pieces.values() for part in parts])
    if str(info.get("robot_type")).startswith("so10"):
        found = from_degrees(found, arm)
    return found, float(info["fps"])


def from_degrees(rows: np.ndarray, arm: Arm) -> np.ndarray:
    """Joint angles of an SO arm, (T, joints), in an arm's units; LeRobot calls the middle of a joint's travel 0 %.

    A Koch leader's gripper is a trigger that springs open: where the demonstration's is open, the hand lets go of it.
    """
    converted = rows.copy()
    for index, joint in enumerate(arm.joints):
        if joint.units == "signed_percent":
            low, high = (-180.0, 180.0) if joint.full_turn else (joint.low, joint.high)
            converted[:, index] = (rows[:, index] - (low + high) / 2) / (high - low) * 200
        elif arm.name.startswith("koch"):
            converted[:, index] = np.interp(rows[:, index], [0.0, OPEN], [0.0, SPRING])
    return converted
