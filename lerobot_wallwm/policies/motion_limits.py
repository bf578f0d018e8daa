# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the joints move in a dataset: the limits that the guards of `safety.py` keep an arm to.

They are kept in the checkpoint's config.json (`motion_limits`), in the robot's units and readable by a person, and are
learned anew whenever LeRobot builds the policy for a dataset, so that they follow a fine-tuning on another arm.

Shapes: A action dims, P proprioception dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

# Our choices. The quantile keeps a glitch of the recording from setting the limit.
QUANTILE = 0.999
# Of accelerations, over the ticks in which a joint's speed changes by more than a part of its range: most joints rest most of
# the time, and a gripper that is open or shut jumps seldom, but when it does it must be allowed to.
ACCELERATION_QUANTILE, RESTS = 0.99, 1e-3
# In half ranges of the data per tick squared: what seams may always do, and what they do where nothing was measured (an SO-101
# at 20 Hz has 0.02 to 0.2).
LEAST_ACCELERATION, UNKNOWN_ACCELERATION = 0.005, 0.02
# Smallest step per tick, as a part of the joint's own range and of the widest joint's: a joint that hardly moved in the
# data must still be able to get to where the data has it.
OWN_FLOOR, WIDEST_FLOOR = 0.01, 0.005
# A joint whose range is this part of the widest one's never moved.
CONSTANT = 1e-4


def learn_motion_limits(
    root: Path | None,
    stats: dict[str, dict[str, Any]] | None,
    episodes: Any | None,
    action_names: Sequence[str] | None,
    state_names: Sequence[str] | None,
) -> dict[str, list[float]]:
    """Measures a LeRobot dataset, in its own units.

    Args:
        root: Dataset folder with ``data/*/*.parquet``, or None.
        stats: LeRobot statistics; the range of ``observation.state`` is taken from them.
        episodes: The dataset's episode table. With the columns of a view that `wallwm prepare` wrote, steps across the
            borders of events that follow each other count, too.
        action_names: Names of the action's dimensions, or None.
        state_names: Names of the state's dimensions, or None.

    Returns:
        ``state_low`` and ``state_high`` ``(P,)``; ``step`` ``(A,)``, quantile `QUANTILE` of ``|a[t+1] - a[t]|``
        within episodes; ``lead`` ``(A,)``, the same of ``|a[t] - s[t]|`` where action and state are the same joints.
        ``acceleration`` ``(A,)``, quantile `ACCELERATION_QUANTILE` of ``|a[t+1] - 2 a[t] + a[t-1]|`` over the ticks
        within episodes in which the joint's speed changes. What cannot be measured is left out.
    """
    limits: dict[str, list[float]] = {}
    state = (stats or {}).get("observation.state", {})
    for name, key in (("state_low", "min"), ("state_high", "max")):
        if key in state:
            limits[name] = _floats(np.asarray(state[key]).reshape(-1))
    files = sorted(Path(root).glob("data/*/*.parquet")) if root is not None else []
    if not files:
        return limits
    columns = ["action", "observation.state", "episode_index"]
    if not set(columns) <= set(pq.read_schema(files[0]).names):
        return limits
    tables = [pq.read_table(file, columns=columns) for file in files]
    action = np.concatenate([np.stack(t["action"].to_numpy(zero_copy_only=False)) for t in tables])
    if action.ndim != 2 or action.dtype == object:
        return limits  # a keyframe view: its rows are no ticks
    poses = np.concatenate([np.stack(t["observation.state"].to_numpy(zero_copy_only=False)) for t in tables])
    episode = np.concatenate([t["episode_index"].to_numpy() for t in tables])
    step = np.abs(np.diff(action.astype(np.float64), axis=0))[episode[1:] == episode[:-1]]
    step = np.concatenate((step, _steps_between_events(action, episodes)))
    if len(step):
        limits["step"] = _floats(np.quantile(step, QUANTILE, axis=0))
    acceleration = _accelerations(action.astype(np.float64), episode)
    if acceleration is not None:
        limits["acceleration"] = _floats(acceleration)
    index = joint_index(action_names, state_names)
    if (index >= 0).any():
        lead = np.abs(action - poses[:, np.maximum(index, 0)]).astype(np.float64)
        limits["lead"] = _floats(np.where(index >= 0, np.quantile(lead, QUANTILE, axis=0), 0.0))
    return limits


def joint_index(action_names: Sequence[str] | None, state_names: Sequence[str] | None) -> np.ndarray:
    """Where the state has the joint that an action dimension moves, ``(A,)``; -1 where it has not, or names lack."""
    if action_names is None:
        return np.empty(0, int)
    where = {name: i for i, name in enumerate(state_names or ())}
    return np.array([where.get(name, -1) for name in action_names], int)


@dataclass(frozen=True)
class MotionLimits:
    """What goals are kept to, in the robot's units.

    Attributes:
        low, high: ``(A,)`` range of goals.
        step: ``(A,)`` largest change per tick; infinite where there is no limit.
        lead: ``(A,)`` how far a goal goes ahead of the pose in the data; infinite where that is not known.
        joint: ``(A,)`` the state's dimension that an action dimension moves, or -1.
        names: A names of action dimensions.
    """

    low: np.ndarray
    high: np.ndarray
    step: np.ndarray
    lead: np.ndarray
    joint: np.ndarray
    names: list[str]

    @property
    def constant(self) -> np.ndarray:
        """Dimensions ``(A,)`` that never moved in the data."""
        span = self.high - self.low
        return span <= CONSTANT * max(float(span.max(initial=0.0)), 1e-12)

    def pose(self, state_BP: np.ndarray) -> np.ndarray:
        """Observed poses as goals ``(B, A)``; NaN for dimensions that the state does not have."""
        if not len(self.joint):
            return np.full((len(state_BP), len(self.low)), np.nan)
        pose = state_BP[:, np.maximum(self.joint, 0)].astype(np.float64)
        return np.where(self.joint >= 0, pose, np.nan)

    @classmethod
    def build(
        cls,
        low: np.ndarray,
        high: np.ndarray,
        learned: dict[str, list[float]],
        factor: float,
        action_names: Sequence[str] | None,
        state_names: Sequence[str] | None,
    ) -> MotionLimits:
        """Limits from what was learned.

        Args:
            low, high: ``(A,)`` range of the actions in the data.
            learned: See `learn_motion_limits`; empty in checkpoints from before there were guards.
            factor: Multiple of the data's largest step that is allowed; 0 lifts the limit.
            action_names, state_names: As in `learn_motion_limits`.
        """
        dims = len(low)
        nowhere = np.full(dims, np.inf)
        step = lead = nowhere
        if len(learned.get("step", ())) == dims and factor > 0:
            span = high - low
            floor = np.maximum(OWN_FLOOR * span, WIDEST_FLOOR * span.max(initial=0.0))
            step = factor * np.maximum(np.asarray(learned["step"]), floor)
        if len(learned.get("lead", ())) == dims:
            lead = np.maximum(np.asarray(learned["lead"]), np.where(np.isinf(step), 0.0, step))
        joint = joint_index(action_names, state_names)
        names = [str(n).removesuffix(".pos") for n in action_names or [f"action[{i}]" for i in range(dims)]]
        return cls(low.astype(np.float64), high.astype(np.float64), step, lead, joint, names)


def _accelerations(action: np.ndarray, episode: np.ndarray) -> np.ndarray | None:
    """How hard each joint accelerates when it does, ``(A,)``; None without three ticks in an episode."""
    found = np.abs(np.diff(action, n=2, axis=0))[episode[2:] == episode[:-2]]
    if not len(found):
        return None
    rests = found <= RESTS * (action.max(axis=0) - action.min(axis=0))
    moving = np.where(rests, np.nan, found)
    moving[0, rests.all(axis=0)] = 0.0
    return np.nanquantile(moving, ACCELERATION_QUANTILE, axis=0)


def _steps_between_events(action: np.ndarray, episodes: Any | None) -> np.ndarray:
    """``|a[t+1] - a[t]|`` where one event of a view ends and the next of the recording begins, ``(n, A)``.

    A carved view has its events as episodes, and a gripper often jumps just between two of them.
    """
    none = np.empty((0, action.shape[1]))
    if "wallwm/start" not in (getattr(episodes, "column_names", None) or ()):
        return none
    assert episodes is not None
    names = ("wallwm/source_episode", "wallwm/start", "wallwm/end", "dataset_from_index", "dataset_to_index")
    table = np.stack([np.asarray(episodes[name]) for name in names], axis=1)
    table = table[np.asarray(episodes["wallwm/copy"]) == 0]
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    before, after = table[:-1], table[1:]
    follows = (before[:, 0] == after[:, 0]) & (before[:, 2] == after[:, 1])
    last, first = before[follows, 4] - 1, after[follows, 3]
    if not follows.any() or max(last.max(), first.max()) >= len(action):
        return none
    return np.abs(action[first].astype(np.float64) - action[last])


def _floats(values: np.ndarray) -> list[float]:
    return [float(np.float32(v)) for v in values]
