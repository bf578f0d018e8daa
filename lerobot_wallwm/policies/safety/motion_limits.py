# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the joints move in a dataset: the limits that the guards of `safety.py` keep an arm to.

They are kept in the checkpoint's config.json (`motion_limits`), in the robot's units and readable by a person, and are
learned anew whenever LeRobot builds the policy for a dataset, so that they follow a fine-tuning on another arm.

Shapes: A action dims, P proprioception dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.policies.batches.dataset_facts import joint_index

# Smallest step per tick, as a part of the joint's own range and of the widest joint's: a joint that hardly moved in the
# data must still be able to get to where the data has it.
OWN_FLOOR, WIDEST_FLOOR = 0.01, 0.005
# A joint whose range is this part of the widest one's never moved.
CONSTANT = 1e-4


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
